"""The Agent Protocol as LangGraph's SDKs speak it: assistants, threads, runs, streams.

What it means here:

- There is one assistant, `autocode`, under its name and under the UUID that LangGraph gives a graph of it.
- A resume goes on with the run that waits, under its own id; LangGraph would begin another run.
- A run's status says whether the graph came to an end, as LangGraph's does: `success` for verified and
  unverified alike, `timeout` for a spent budget, `interrupted` for waiting and cancelled. Whether the task is
  proved is in the run's metadata (`outcome`, `branch`), in the values (`proof`, `missing`) and in the last
  message.
- Streams are views of the log. An event's id is `seq-n`, the n-th event that the log's line `seq` stands for,
  so that `Last-Event-ID` goes on exactly there, in another process too; `-1` asks for the whole run.
- `messages` come from tokens, one id for each call of a model; `values`, `updates` and `checkpoints` from the
  checkpoints that the log names, one a superstep, so that `updates` come when their superstep ends; `custom`
  is the log as it is, tokens left out; `events` has the shape of LangChain's astream_events.
- Without a `multitask_strategy` a run queues behind one that is at work, and takes the place of one that
  waits for an answer, as a new message does in LangGraph.
- What is not served answers 501 and names itself. Left alone on purpose: `config.tags` and
  `config.recursion_limit` (a run's rounds have limits of their own), `durability` (every step is stored
  before the next), `stream_resumable` (every stream is), `stream_subgraphs` (there are none) and
  `strict_resume` (every resume is).
- A run without a thread gets one of its own, which stays: its branch belongs to it.
"""

from server.protocol.routes import router

__all__ = ["router"]
