"""Rows that were made in company, given up and made again: to the bit, with real weights and real sizes."""

import threading

import pytest
import torch

import glassformer
from glassformer.engine.engine import Engine, Session
from glassformer.engine.sequence import TokenSequence
from glassformer.protocol.messages import Sampling, TraceRequest
from glassformer.run.record import open_run
from glassformer.run.run import Run
from glassformer.run.run_state import describe_state
from glassformer.run.run_store import RunStore

pytestmark = pytest.mark.real

COUNT, WRITTEN = 6, 12


def test_rows_made_in_company_come_back_to_the_bit(model: glassformer.Model, token_ids: list[int]) -> None:
    engine = Engine(model.loaded, max_running=COUNT, max_waiting=COUNT, prefix_bytes=2**26)
    store = RunStore(2**32)
    runs: list[Run] = []
    ended: list[threading.Event] = []
    for which in range(COUNT):
        body = TraceRequest(
            model_id=model.model_id,
            token_ids=[*token_ids[which:], *token_ids * (which + 1)],
            max_new_tokens=WRITTEN,
            sampling=Sampling(temperature=0),
        )
        run, over = open_run(store, model.loaded, body), threading.Event()
        assert run.request is not None
        sequence = TokenSequence(model.loaded, run.request, watcher=run.watcher)
        engine.submit(Session(sequence, run.take, lambda _, over=over: over.set()))
        runs.append(run)
        ended.append(over)
    assert all(over.wait(120) for over in ended)
    engine.close()
    assert any(piece.before or piece.after for run in runs for piece in run.recording.path)
    for run in runs:
        run.release()
        run.end()
        blocks = range(len(model.loaded.structure.blocks) + 1)
        before = [run.recording.residual(block).clone() for block in blocks]
        assert run.give_up()
        run.read("resid_pre.0")
        for block in blocks:
            assert torch.equal(run.recording.residual(block), before[block])
        assert describe_state(run).rebuilt_difference is None
