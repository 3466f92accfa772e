"""The Agent Protocol as LangGraph's SDKs speak it: assistants, threads, runs and streams.

The rules of this implementation:

- There is one assistant. Its ids are `autocode` and the UUID that LangGraph derives from that name.
- A resume continues the waiting run under its id. LangGraph would start another run.
- The status of a run tells whether the graph came to an end, as in LangGraph: `success` for verified and
  unverified, `timeout` for a spent budget, `interrupted` for waiting and cancelled. The proof of a task is in
  the metadata (`outcome`, `branch`), in the values (`proof`, `missing`) and in the last message.
- Streams are views of the log. The event id `seq-n` is the n-th event of the log's line `seq`.
  `Last-Event-ID` continues after it in any process. `-1` requests the whole run.
- `messages` come from tokens, with one id for each model call. `values`, `updates` and `checkpoints` come
  from the checkpoints that the log names, so `updates` come at the end of a superstep. `custom` is the log
  without tokens. `events` has the shape of LangChain's astream_events.
- Without a `multitask_strategy`, a run queues behind one at work, and replaces one that waits for an answer.
- Features that are not served get a 501 with their name. These have no effect on purpose: `config.tags`,
  `config.recursion_limit` (rounds have their own limits), `durability` (every step is stored before the
  next), `stream_resumable` and `strict_resume` (they always apply), `stream_subgraphs` (there are none).
- A run without a thread gets one that stays, because its branch belongs to it.
"""

from server.protocol.routes import router

__all__ = ["router"]
