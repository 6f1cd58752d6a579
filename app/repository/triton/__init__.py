"""Models that Triton served: what their config.pbtxt says, in the words of serving.json and of the contract."""

CONFIG_FILE = "config.pbtxt"
WARMUP_DIRECTORY = "warmup"
