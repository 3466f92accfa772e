"""The library functions and texts by which code escapes from, or looks at, the run that tests it."""

import re

_ENDS = "ends the process at once, so that no failure may be reported"
_CALLERS = "looks at its callers, so that it can act differently when a test calls it"
_OBJECTS = "searches the live objects of the process, among which are pytest's own"
_TRACES = "intercepts the code that runs, the tests included"
_IMPORTS = "alters how modules are imported, the tests' modules included"
_MEMORY = "reaches the memory of the process, where it can alter anything"
_LATE = "acts when the process ends, after the tests, when results can still be rewritten"
_SIGNALS = "handles signals, with which it can hide that a test run was stopped"
_STARTS = "starts another program or thread when it is imported, which can interfere with the tests"
_STOPS = "ends the process when it is imported, so that tests may not run"
_FILES = "changes files when it is imported, which can rewrite tests or results"
_RUNS = "runs code from another place when it is imported, which is not examined"

ALWAYS = {
    **dict.fromkeys(("os._exit", "os.abort"), _ENDS),
    **dict.fromkeys(("gc.get_objects", "gc.get_referrers", "gc.get_referents"), _OBJECTS),
    "builtins.object.__subclasses__": _OBJECTS,
    **dict.fromkeys(
        ("sys.settrace", "sys.setprofile", "threading.settrace", "threading.setprofile"), _TRACES
    ),
    **dict.fromkeys(("sys.addaudithook", "sys.monitoring"), _TRACES),
    **dict.fromkeys(("sys.meta_path", "sys.path_hooks"), _IMPORTS),
    "sys.orig_argv": "reads the command line, by which it can recognise a test run",
    "marshal.loads": "loads compiled code, which nobody can read",
    "zipimport": "imports code from an archive, which nobody can read",
    "faulthandler.dump_traceback": _CALLERS,
    "faulthandler.is_enabled": "tells how the process was started, by which it can recognise a test run",
    "ctypes.pythonapi": "calls into the interpreter, where it can alter anything",
}
"""Names that are listed in sources and tests, wherever they are used."""

FRAMES = {
    **dict.fromkeys(
        (
            *("sys._getframe", "sys._getframemodulename", "sys._current_frames"),
            *("inspect.stack", "inspect.currentframe", "inspect.getouterframes", "inspect.trace"),
            *(
                "traceback.extract_stack",
                "traceback.walk_stack",
                "traceback.format_stack",
                "traceback.print_stack",
            ),
        ),
        _CALLERS,
    ),
    "__main__": "tells how the process was started, by which it can recognise a test run",
    "os.getppid": "tells which process started it, by which it can recognise a test run",
}
"""Names that are listed in sources only."""

UNLESS_KNOWN = {
    "atexit.register": _LATE,
    **dict.fromkeys(("ctypes.memmove", "ctypes.memset", "ctypes.string_at"), _MEMORY),
    "weakref.finalize": _LATE,
    **dict.fromkeys(("signal.signal", "signal.setitimer", "signal.alarm", "signal.raise_signal"), _SIGNALS),
    **dict.fromkeys(("os.kill", "os.killpg"), "sends signals, with which it can stop a test run"),
}
"""Names that are listed unless the base's sources use the same module so already."""

AT_IMPORT = {
    **dict.fromkeys(("sys.exit", "builtins.exit", "builtins.quit"), _STOPS),
    **dict.fromkeys(("os.system", "os.popen", "os.fork", "os.forkpty", "os.posix_spawn"), _STARTS),
    **dict.fromkeys((f"os.exec{end}" for end in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")), _STOPS),
    **dict.fromkeys((f"os.spawn{end}" for end in ("l", "le", "lp", "v", "ve", "vp")), _STARTS),
    **dict.fromkeys((f"subprocess.{each}" for each in ("run", "Popen", "call")), _STARTS),
    **dict.fromkeys((f"subprocess.{each}" for each in ("check_call", "check_output", "getoutput")), _STARTS),
    **dict.fromkeys(("threading.Thread", "threading.Timer", "_thread.start_new_thread"), _STARTS),
    **dict.fromkeys(("multiprocessing.Process", "ctypes.CDLL", "ctypes.cdll"), _STARTS),
    **dict.fromkeys(("runpy.run_path", "runpy.run_module", "pickle.load", "pickle.loads"), _RUNS),
    **dict.fromkeys(
        ("importlib.util.spec_from_file_location", "importlib.machinery.SourceFileLoader"),
        _RUNS,
    ),
    **dict.fromkeys(("os.remove", "os.unlink", "os.rename", "os.replace", "os.truncate"), _FILES),
    **dict.fromkeys(("shutil.rmtree", "shutil.move", "shutil.copy", "shutil.copyfile"), _FILES),
}
"""Names that are listed where they are called at import."""

ENTRY = re.compile(
    r"(?:^|[._])(?:(?:cli|run|invoke|script|usage|help)(?:$|[._])|parse|arg|command|entry)"
    r"|(?:main|argv)(?:$|[._])|prog",
    re.IGNORECASE,
)
"""Functions whose job may be the command line."""

CODE_RUNNERS = {"builtins.exec", "builtins.eval", "builtins.compile"}
DECODERS = {
    *("base64.b64decode", "base64.b32decode", "base64.b85decode", "base64.a85decode", "base64.b16decode"),
    *("codecs.decode", "zlib.decompress", "lzma.decompress", "bz2.decompress", "gzip.decompress"),
    *("marshal.loads", "pickle.loads", "binascii.unhexlify", "binascii.a2b_base64", "bytes.fromhex"),
    *("builtins.bytes.fromhex", "builtins.bytes", "builtins.bytearray"),
}

PROTECTED = {"os", "sys", "builtins", "pytest", "_pytest", "gc", "importlib", "pluggy", "signal", "atexit"}
"""Modules whose attributes are listed where a source reaches them by a name that it builds."""

STREAMS = {
    *("sys.stdin", "sys.stdout", "sys.stderr", "sys.path", "sys.excepthook", "sys.ps1", "sys.ps2"),
    *("warnings.showwarning", "warnings.formatwarning", "logging.raiseExceptions", "sys.dont_write_bytecode"),
    "sys.unraisablehook",
}
"""Attributes of modules that programs replace by their documentation."""

LOOKS = (
    (
        re.compile(r"(?<![\w.-])_?py\.?test(?![\w-]|\.ini)|PYTEST_|PY_IGNORE_|\b(?:pluggy|iniconfig)\b"),
        "pytest",
    ),
    (re.compile(r"junit|(?<!\w)report\.xml|(?<!\w)r\.xml", re.IGNORECASE), "the report of a test run"),
    (re.compile(r"/workspace\b|(?<!\w)/\.dockerenv|\bbubblewrap\b|\bbwrap\b"), "the sandbox"),
    (re.compile(r"^\.git(?:/HEAD|/config)?$"), "the sandbox, which has no .git"),
    (
        re.compile(r"^/proc(?:/|$)|\bcmdline$|/proc/(?:\d|self|[$%{*])|\$\{?PPID\b"),
        "the process that runs it",
    ),
    (re.compile(r"^PYTHON(?:PATH|STARTUP|WARNINGS)$|--rootdir|conftest"), "how the tests are started"),
)
"""Texts by which a source recognises a test run, with the thing that they name."""
