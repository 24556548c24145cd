"""Loops compiled for this processor once, kept as object code, and called without the compiler.

Importing numba takes longer than measuring many a clip. So a function under `@compiled` imports it only where its object
code is not on disk yet; any later process hands that code to LLVM alone (llvmlite), which loads it in a few milliseconds.

    @compiled(fastmath={"contract"})
    def blur(row, out): ...

    blur(row, out)      # arrays of any dtype and number of dimensions, ints (64 bit), floats (float64, or np.float32)

What is called from Python allocates nothing: it takes arrays and numbers, fills arrays, and returns one number or None.
numba's memory management is left out, so an `np.empty` in it, or one slice assigned to another, does not compile. A
compiled function may call others. Its arguments are not checked, nor are indices. The interpreter is let go of while it runs.

Object code lies in `VQMETER_KERNELS`, else beside the source where that can be written to, else in the user's folder for
caches; where that is nowhere it is made anew by every process. Its head says with which processor, library and sources it was
made. It is a program: whoever may write there may run code as whoever reads it.

The call is numba's own: `status = f(&result, &exception, arguments...)`, where an array is seven words and more: two of
memory management (null), its size, its item size, its data, its shape, its strides.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, cached_property
from pathlib import Path
from types import FunctionType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

_HERE = Path(__file__).parent
_EDITION = 1  # of the form of what lies on disk
_FINE = (0, -2)  # statuses: a number came back, or None did
_LIBC = {"memcpy", "memmove", "memset", "exp", "expf", "floor", "floorf", "ceil", "ceilf", "round", "sqrt", "sqrtf", "pread"}
_LOCK = threading.RLock()
Kind = Any  # of an argument: (character of its dtype, dimensions, whether C-contiguous), or the character of a number


def compiled(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Decorate a loop: `@compiled`, or with numba's options of arithmetic, `@compiled(fastmath=..., error_model=...)`."""
    return Compiled(function, options) if function is not None else lambda function: Compiled(function, options)


class Library:
    """A function of the C library that loops may call: `read = Library("pread", "int64(int32, uintp, uintp, int64)")`."""

    def __init__(self, name: str, signature: str) -> None:
        self.name, self._signature = name, signature

    def __call__(self, *arguments: Any) -> Any:
        raise TypeError(f"{self.name} is called by compiled loops alone")

    @cached_property
    def dispatcher(self) -> Any:
        from numba.core import sigutils, types, typing

        arguments, result = sigutils.normalize_signature(self._signature)
        return types.ExternalFunction(self.name, typing.signature(result, *arguments))


class Compiled:
    """A loop, compiled or loaded when it is first called with arguments of a kind."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function, self._options = function, options
        self.__doc__, self.__name__, self.__module__ = function.__doc__, function.__name__, function.__module__
        self._ready: dict[tuple[Kind, ...], Callable[..., Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        kinds = tuple(map(_kind, arguments))
        entry = self._ready.get(kinds) or self._prepare(kinds)
        return entry(*arguments)

    def _prepare(self, kinds: tuple[Kind, ...]) -> Callable[..., Any]:
        with _LOCK:
            if kinds not in self._ready:
                name = f"{self.__module__.rpartition('.')[2]}.{self.__name__}-{'_'.join(map(_word, kinds))}"
                code = _stored(name)
                if code is None:
                    code = self._compile(kinds, name)
                    _store(name, code)
                self._ready[kinds] = _entry(name, code, kinds)
            return self._ready[kinds]

    def _compile(self, kinds: tuple[Kind, ...], name: str) -> bytes:
        """What its result is, a character, and its object code."""
        _say("compiling kernels for this processor, which takes some seconds")
        with _numba() as numba:
            signature = tuple(_numba_type(numba, kind) for kind in kinds)
            self.dispatcher.compile(signature)
            made = self.dispatcher.overloads[signature]
        module = llvm.parse_assembly(self.dispatcher.inspect_llvm(signature))
        for function in module.functions:
            if function.name == made.fndesc.llvm_func_name:
                function.name = name
            elif not function.is_declaration:
                function.linkage = "internal"  # numba's own ways in, which nobody takes
        manager = llvm.create_new_module_pass_manager()
        manager.add_global_dead_code_eliminate_pass()
        manager.run(module, llvm.create_pass_builder(_machine(), llvm.create_pipeline_tuning_options()))
        wants = {f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")} - _LIBC
        if wants:
            raise TypeError(f"{name} wants {', '.join(sorted(wants))} of its process; a compiled loop allocates nothing")
        result = {"none": "-", "int64": "q", "float64": "d", "float32": "f"}[str(made.signature.return_type)]
        return result.encode() + _machine().emit_object(module)

    @cached_property
    def dispatcher(self) -> Any:
        """The function as numba has it, with the compiled functions that it calls in their places."""
        import numba

        names, code = self.function.__globals__, self.function.__code__
        called = {name: names[name].dispatcher for name in code.co_names if isinstance(names.get(name), (Compiled, Library))}
        function = FunctionType(code, {**names, **called}, code.co_name)
        return numba.njit(_nrt=False, **self._options)(function)


def _kind(argument: Any) -> Kind:
    if isinstance(argument, np.ndarray):
        return argument.dtype.char, argument.ndim, argument.flags.c_contiguous
    return "f" if isinstance(argument, np.float32) else "d" if isinstance(argument, float) else "q"


def _word(kind: Kind) -> str:
    return kind if isinstance(kind, str) else f"{kind[0]}{kind[1]}{'' if kind[2] else 'a'}"


def _numba_type(numba: Any, kind: Kind) -> Any:
    if isinstance(kind, str):
        return {"q": numba.int64, "d": numba.float64, "f": numba.float32}[kind]
    return numba.types.Array(numba.from_dtype(np.dtype(kind[0])), kind[1], "C" if kind[2] else "A")


# --- what is called


def _entry(name: str, code: bytes, kinds: tuple[Kind, ...]) -> Callable[..., Any]:
    """Load object code; a function of Python arguments of these kinds."""
    result, types = code[:1].decode(), list[Any]()
    for kind in kinds:
        if isinstance(kind, str):
            types.append(_NUMBERS[kind])
        else:
            types += [ctypes.c_void_p] * 2 + [ctypes.c_int64] * 2 + [ctypes.c_void_p] + [ctypes.c_int64] * (2 * kind[1])
    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code[1:]))
    engine.finalize_object()
    address = engine.get_function_address(name)
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *types)(address)
    number = _NUMBERS.get(result, ctypes.c_int64)

    def entry(*arguments: Any) -> Any:
        words = list[Any]()
        for argument in arguments:
            if isinstance(argument, np.ndarray):
                words += (None, None, argument.size, argument.itemsize, argument.ctypes.data)
                words += (*argument.shape, *argument.strides)
            else:
                words.append(argument if isinstance(argument, (int, float)) else argument.item())
        value, exception = number(), ctypes.c_void_p()
        status = call(ctypes.addressof(value), ctypes.addressof(exception), *words)
        if status not in _FINE:
            raise ArithmeticError(f"{name} ended with status {status}")
        return None if result == "-" else value.value

    return entry


_NUMBERS: dict[str, Any] = {"q": ctypes.c_int64, "d": ctypes.c_double, "f": ctypes.c_float}


@cache
def _machine() -> Any:
    """LLVM's idea of this processor."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_triple(llvm.get_process_triple())
    return target.create_target_machine(*_processor(), opt=3, codemodel="jitdefault", jit=True)


@cache
def _processor() -> tuple[str, str]:
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


@cache
def _engine() -> Any:
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())


@contextmanager
def _numba() -> Iterator[Any]:
    """numba, which looks for BLAS as it loads, for 0.2 s; in a user's own program, where others may want it, it may."""
    blas: Any = "scipy.linalg.cython_blas"
    hide = "vqmeter.cli" in sys.modules and "numba" not in sys.modules and blas not in sys.modules
    if hide:
        sys.modules[blas] = None  # type: ignore[assignment]
    try:
        import numba

        yield numba
    finally:
        if hide:
            del sys.modules[blas]


@cache
def _say(message: str) -> None:
    logging.getLogger("vqmeter").info(message)


# --- what lies on disk


@cache
def _made_with() -> tuple[bytes, str]:
    """What object code hangs on: this machine, the library that loads it, and all sources; and short for these."""
    machine = (_EDITION, llvm.get_process_triple(), *_processor(), llvmlite.__version__)
    files = sorted((entry.name, entry.stat()) for entry in os.scandir(_HERE) if entry.name.endswith(".py"))
    sources = [(name, stat.st_mtime_ns, stat.st_size) for name, stat in files]
    words = f"{machine} {sources}\n".encode()
    return words, f"{zlib.crc32(words):08x}"


def _places() -> Iterator[Path]:
    if folder := os.environ.get("VQMETER_KERNELS"):
        yield Path(folder)
        return
    yield _HERE / "__pycache__"
    from platformdirs import user_cache_path

    yield user_cache_path("vqmeter") / "kernels"


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.{_made_with()[1]}.o"


def _checked(code: bytes) -> bytes:
    return _made_with()[0] + zlib.crc32(code).to_bytes(4, "little") + code


def _stored(name: str) -> bytes | None:
    """Object code made of the sources of now, whole; None where there is none."""
    start = len(_made_with()[0]) + 4
    for folder in _places():
        with suppress(OSError):
            data = _path(folder, name).read_bytes()
            if data == _checked(data[start:]):
                return data[start:]
    return None


def _store(name: str, code: bytes) -> None:
    """Keep it where that can be done, whole or not at all: other processes may be doing the same."""
    failure = OSError()
    for folder in _places():
        path = _path(folder, name)
        part = path.with_name(f"{path.name}.{os.getpid()}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            part.write_bytes(_checked(code))
            part.replace(path)
            return
        except OSError as error:
            failure = error
            with suppress(OSError):
                part.unlink()
    why = (failure.strerror or "").lower()
    _say(
        f"compiled kernels cannot be kept in {folder} ({why}), so each run compiles them; VQMETER_KERNELS names another folder"
    )
