"""Answers plain requests of one turn of the event loop together, as one request with all their instances.

Most requests of a burst are of the same form, have few instances and state nothing else. To validate, queue, print and
count each of them by itself costs more than to compute it. So they are gathered for a turn, and then they are an
ordinary request to ``predict``: the same queue, the same admission, the same batches. What is not plain is answered by
itself. If one of the joined requests may be at fault, each of them is; if the queue is full, as many as fit are queued;
an error that each of them would get is sent to all.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from app.batching.work import DEFAULT_OPTIONS, Answer, Awaited, Prediction, Timings
from app.edge.call import Route
from app.edge.joint.arrivals import Arrivals
from app.edge.joint.request import JointRequest, Plain
from app.edge.joint.row_forms import RowForm, Rows
from app.edge.observer import RequestObserver
from app.edge.request_log import log_refusal
from app.edge.respond import error_reply, server_timing
from app.errors import BackendDown, BackendHung, ServingError, Unavailable
from app.loaded import LoadedModel
from app.runtime.backend import take_rows
from app.serving.predictor import Queued, enqueue
from app.types import Clock, Tensors

log = logging.getLogger("atelier.edge")

# Errors that each of the requests would get by itself too.
_OF_ALL = (Unavailable, BackendHung, BackendDown)
# Most seconds between the arrival of two requests that are answered together.
_MOST_APART_S = 0.02


class Joining:
    """Gathers plain requests.

    Args:
        observer: records every request.
        clock: monotonic seconds.
        arrivals: tells when the requests that are joined have arrived.
    """

    def __init__(self, *, observer: RequestObserver, arrivals: Arrivals, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock
        self._arrivals = arrivals
        self._open: dict[RowForm, JointRequest] = {}

    def add(self, plain: Plain, rows: Rows, form: RowForm, model: LoadedModel, route: Route) -> None:
        """Answer a request together with the others of its form.

        Args:
            plain: the request.
            rows: its instances, at most as many as a batch has.
            form: of the request.
            model: the version that answers.
            route: of the request.
        """
        part, count = rows
        most = model.batcher.rules.max_batch_size
        joint = self._open.get(form)
        if joint is not None and (
            joint.count + count > most or abs(plain.began - joint.waiting[0].began) > _MOST_APART_S
        ):
            self._begin(joint)  # all run in one batch, and have the deadline of the first
            joint = None
        if joint is None:
            joint = self._open[form] = JointRequest(form, model, route, self._record)
            self._arrivals.then(partial(self._begin, joint), model.batcher.loop)
        plain.joint = joint
        joint.waiting.append(plain)
        joint.parts.append(part)
        joint.counts.append(count)
        joint.count += count
        joint.nbytes += len(part)
        if joint.count >= most or joint.nbytes >= form.most_bytes:
            self._begin(joint)

    def _begin(self, joint: JointRequest) -> None:
        """Queue the instances, unless this was done before, because they were as many as a batch has."""
        if self._open.get(joint.form) is not joint:
            return
        del self._open[joint.form]
        if not joint.is_wanted:
            joint.end()
            return
        model, began = joint.model, self._clock()
        try:
            inputs = joint.form.stack(joint.parts, joint.count)
            joint.timings.decode = self._clock() - began
            self._queue(joint, inputs)
        except Unavailable as error:
            self._queue_what_fits(joint, inputs, error)
        except ServingError:  # one of them is at fault
            self._answer_alone(joint)
        except Exception:
            log.exception("a joint request to model %s failed", model.name)
            self._answer_alone(joint)
        model.batcher.run_gathered()

    def _queue(self, joint: JointRequest, inputs: Tensors) -> None:
        began = joint.waiting[0].began
        queued = enqueue(joint.model, inputs, DEFAULT_OPTIONS, clock=self._clock, began=began, receiver=Awaited)
        joint.parts = []
        if len(queued.works) == 1:
            self._await(joint, queued)
            return
        for chosen, part in queued.parts():  # of texts, one each: answers to short ones do not wait for long ones
            self._await(joint.part(chosen), part)
        joint.end()

    def _await(self, joint: JointRequest, queued: Queued) -> None:
        """Reply when the only work of a joint request is done."""
        (work,) = queued.works
        assert isinstance(work.future, Awaited)
        joint.awaited = work.future
        joint.awaited.then = partial(self._answered, joint, queued)
        if not joint.is_wanted:
            joint.awaited.cancel()

    def _queue_what_fits(self, joint: JointRequest, inputs: Tensors, error: Unavailable) -> None:
        """Queue as many as there is room for, and refuse the others: ``error`` is the refusal of all together."""
        count = size = len(joint.waiting)
        start = row = 0
        while start < count:
            if size == 1:
                self._refuse(joint.part(range(start, count)), error)
                break
            size //= 2
            while start < count:
                part = joint.part(range(start, min(start + size, count)))
                last = row + part.count
                try:
                    self._queue(part, take_rows(inputs, row, last))
                except Unavailable as refusal:
                    part.end()
                    error = refusal
                    break
                except ServingError:  # such as a deadline; each of them gets its own error
                    self._answer_alone(part)
                except Exception:
                    log.exception("a joint request to model %s failed", joint.model.name)
                    self._answer_alone(part)
                start, row = start + size, last
        joint.end()

    def _answered(self, joint: JointRequest, queued: Queued, answer: Answer | BaseException | None) -> None:
        joint.awaited = None
        if answer is None:
            joint.end()
        elif isinstance(answer, BaseException):  # from within any task, in which no other answer may begin
            joint.model.batcher.loop.call_soon(self._failed, joint, answer)
        else:
            try:
                self._reply(joint, queued.prediction([answer]))
            except Exception:
                log.exception("the replies to a joint request to model %s failed", joint.model.name)
                joint.model.batcher.loop.call_soon(self._answer_alone, joint)
            else:
                joint.end()

    def _failed(self, joint: JointRequest, error: BaseException) -> None:
        if isinstance(error, _OF_ALL) or (isinstance(error, ServingError) and len(joint.waiting) == 1):
            self._refuse(joint, error)
        else:
            self._answer_alone(joint)

    def _reply(self, joint: JointRequest, prediction: Prediction) -> None:
        """Write and record all replies."""
        timings, began = joint.timings, self._clock()
        timings.queue, timings.compute = prediction.queue_s, prediction.compute_s
        bodies, headers = joint.form.bodies(prediction.outputs, joint.counts), joint.form.headers
        timings.encode = self._clock() - began
        head = joint.waiting[0].head_of_reply((*headers, server_timing(timings)))
        answered: list[float] = []
        now = self._clock()
        for plain, body in zip(joint.waiting, bodies, strict=True):
            if not plain.is_waiting:
                continue
            own = plain.head_of_reply((*headers, server_timing(_timings(joint, plain)))) if plain.read_s else head
            try:
                plain.reply(own, body)
            except Exception:
                log.exception("a reply of model %s cannot be written", joint.model.name)
                if plain.is_waiting:
                    joint.model.batcher.loop.call_soon(_alone, plain)
                    continue
            if plain.read_s:
                self._record(joint, plain, 200)
            else:
                answered.append(now - plain.began)
        if answered:
            self._observer.requests_answered(
                model=joint.model, protocol=joint.route.protocol, seconds=answered, timings=timings
            )

    def _refuse(self, joint: JointRequest, error: ServingError) -> None:
        """Refuse all of them for the same reason."""
        reply = error_reply(error)

        def refuse(plain: Plain) -> None:
            request_id = plain.refuse(error, reply)
            log_refusal(joint.route, error, reply.status, request_id, joint.model)
            self._record(joint, plain, reply.status)

        _end(joint, refuse)

    def _answer_alone(self, joint: JointRequest) -> None:
        """Answer each request by itself, with its own error if it has one."""
        _end(joint, lambda plain: plain.answer_alone())

    def _record(self, joint: JointRequest, plain: Plain, code: int) -> None:
        self._observer.request_done(
            model=joint.model,
            protocol=joint.route.protocol,
            code=code,
            seconds=self._clock() - plain.began,
            timings=_timings(joint, plain),
        )


def _alone(plain: Plain) -> None:
    if plain.is_waiting:  # otherwise its client has left meanwhile
        plain.answer_alone()


def _end(joint: JointRequest, act: Callable[[Plain], None]) -> None:
    """Call ``act`` with each request that waits; one that fails does not keep the others from their answers."""
    for plain in joint.end():
        if plain.is_waiting:
            try:
                act(plain)
            except Exception:
                log.exception("a reply of model %s cannot be written", joint.model.name)


def _timings(joint: JointRequest, plain: Plain) -> Timings:
    return replace(joint.timings, read=plain.read_s) if plain.read_s else joint.timings
