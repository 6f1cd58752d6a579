"""One HTTP connection: parses bytes to requests under limits, and writes the replies.

Each class adds one subject to uvicorn's protocol: RefusingProtocol (order of replies, refusals), ReceivingProtocol
(bytes that wait for a turn), ParsingProtocol (heads and bodies under limits), GuardedProtocol (open connections, time),
InferenceProtocol (answers without ASGI), and JointProtocol (plain requests together).
"""
