"""FastAPI's smallest route: it reads the body and answers with a constant."""

import uvicorn
from fastapi import FastAPI, Request
from network import port

CONSTANT = {
    "predictions": [[0.0123456, 0.0123457, 0.0123458, 0.0123459, 0.012346, 0.0123461, 0.0123462, 0.9, 0.01, 0.01]]
}

app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> dict[str, list[list[float]]]:
    """Constant."""
    await request.body()
    return CONSTANT


@app.get("/health")
async def health() -> dict[str, str]:
    """Ready."""
    return {"status": "ok"}


if __name__ == "__main__":
    uvicorn.run(app, port=port(), loop="uvloop", http="httptools", access_log=False, log_level="warning")
