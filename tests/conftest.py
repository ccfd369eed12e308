import signal

# A shell starts what runs in its background with Ctrl-C ignored, and programs that the tests
# start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
