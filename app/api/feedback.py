"""The route that takes the right answer to a recorded request."""

from fastapi import APIRouter, Depends, Request

from app.api.admin import FeedbackGuard
from app.api.repository import read_document
from app.control.feedback import FeedbackDesk, FeedbackTaken


def feedback_router(desk: FeedbackDesk, guard: FeedbackGuard) -> APIRouter:
    """The route under /v1/models; for administrators, and for API keys with the scope feedback."""
    router = APIRouter(prefix="/v1/models", tags=["models"])

    @router.post("/{name}:feedback", summary="The right answer to a recorded request", dependencies=[Depends(guard)])
    async def feedback(name: str, request: Request) -> FeedbackTaken:
        return await desk.take(name, await read_document(request))

    return router
