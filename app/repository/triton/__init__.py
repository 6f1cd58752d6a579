"""Models of Triton: their config.pbtxt, converted to settings of serving.json and to the contract."""

CONFIG_FILE = "config.pbtxt"
WARMUP_DIRECTORY = "warmup"
