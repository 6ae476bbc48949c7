"""The one JIT policy and the shape of a registered kernel. It holds no kernel of its own.

A kernel is a plain loop over a chunk of the past, in order::

    kernel(*inputs, *params, state, out)

``inputs`` are (n,) arrays, ``params`` scalars, ``state`` a flat float64 array that says all the kernel
remembers (zeros before the first bar), ``out`` a (n_outputs, n) float64 array that it fills. Research calls
it on blocks, live on chunks of one bar; the future is not in the argument.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import llvmlite.binding
import numba
import numba.core.config
import numpy as np
from llvmlite import ir
from numba.extending import intrinsic, overload
from numpy.typing import ArrayLike, NDArray

from research.errors import InvalidInput

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
F = TypeVar("F", bound=Callable[..., Any])

# The warmup of a kernel that no number of bars makes equal to a longer-running one: only its saved state does.
UNBOUNDED = -1

numba_config: Any = numba.core.config  # its settings are made at import: no checker sees them
_ROOT = Path(__file__).resolve().parents[1]
_CACHE_BASE = Path(numba_config.CACHE_DIR) if numba_config.CACHE_DIR else _ROOT / ".cache" / "kernels"
_DECORATING = threading.Lock()
POLICY: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": False}
_OUTER: dict[str, Any] = {**POLICY, "no_cfunc_wrapper": True}  # nothing calls kernels through C
_INNER: dict[str, Any] = {**_OUTER, "no_cpython_wrapper": True}


def kernel(function: F) -> F:
    """Compile a kernel, or a helper that kernels call, under the project's one policy.

    ``nogil`` so that threads share blocks; ``error_model="numpy"`` so that a division by zero is an infinity as
    in NumPy and costs no branch; **no fastmath**, because a reordered sum differs between a block and a single
    bar (measured: 841 of 300,000 bars). Compiled code is kept in a directory named by :func:`source_key`.

    Parameters
    ----------
    function : callable
        A function of arrays and scalars only: no closures, no functions as arguments.

    Returns
    -------
    callable
        The compiled dispatcher; ``.py_func`` is the plain function.
    """
    return _compiled(function, numba.njit(**_OUTER)(function))


def inner_kernel(function: F) -> F:
    """Compile a helper that only kernels call, under the same policy as :func:`kernel`.

    It cannot be called from Python (but for ``NUMBA_DISABLE_JIT=1``). For helpers that take a dozen arrays the code to
    do so is most of what would be compiled: the account's kernels took 37 s of processor time without it, 53 with it.

    Parameters
    ----------
    function : callable
        As for :func:`kernel`.
    """
    return _compiled(function, numba.njit(**_INNER)(function))


def inlined_kernel(function: F) -> F:
    """Compile a helper as :func:`inner_kernel` does, and put its code where it is called.

    For short helpers on the way of every event: handing a dozen arrays over takes longer than what they do.

    Parameters
    ----------
    function : callable
        As for :func:`kernel`.
    """
    return _compiled(function, numba.njit(**_INNER, forceinline=True)(function))


def _compiled(function: F, compiled: Any) -> Any:
    """Direct the cache of a compiled function to the folder named by its sources."""
    path = inspect.getsourcefile(function)
    if not hasattr(compiled, "enable_caching"):  # NUMBA_DISABLE_JIT=1: the plain function, for coverage and debugging
        return compiled
    if path is None or not path.endswith(".py") or not Path(path).is_file():  # typed at a prompt: nothing to hash
        return compiled
    with _DECORATING:  # Numba reads the directory from its global configuration when caching is enabled
        before = numba_config.CACHE_DIR
        numba_config.CACHE_DIR = str(_CACHE_BASE / source_key(Path(path)))
        try:
            compiled.enable_caching()
        except (RuntimeError, OSError):  # a read-only install: compile in each process
            pass
        finally:
            numba_config.CACHE_DIR = before
    return compiled


def constant(value: int) -> int:
    """Return a whole number as kernels shall read it from a module.

    To Numba a plain int is a type of its own, and a kernel that it is handed to is compiled for each value once more:
    the account's took 95 s to compile instead of 55. An ``IntEnum`` member is looked up at every use.
    """
    return np.int64(value)  # type: ignore[return-value]  # an int in all but its type


def truth(value: bool) -> bool:
    """Return a truth value as kernels shall read it from a module; see :func:`constant`."""
    return np.bool_(value)  # type: ignore[return-value]  # a bool in all but its type


@intrinsic
def _borrowed(typing_context: Any, array: Any) -> Any:

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found = context.make_array(signature.args[0])(context, builder, arguments[0])
        found.meminfo = ir.Constant(found.meminfo.type, None)
        found.parent = ir.Constant(found.parent.type, None)
        return found._getvalue()

    return array(array), generate


def borrowed(array):  # type: ignore[no-untyped-def]  # its signature must be that of the overload
    """Return an array without its reference count, inside a kernel that hands many arrays on to others.

    Numba counts references to every array at every call, with locked instructions. The caller of the kernel keeps the
    array alive.
    """
    return array


@overload(borrowed)
def _borrowed_array(array):  # type: ignore[no-untyped-def]
    return lambda array: _borrowed(array)  # type: ignore[call-arg]  # the compiler gives the context


def source_key(path: Path) -> str:
    """Return the hash that names the compiled code of one source file.

    It covers the file, every project module that it imports, directly or not, Numba's and llvmlite's versions
    and the CPU. Numba's own cache looks only at the file of the function itself, so that an edit in a helper
    elsewhere would go on serving the old result (numba issue 1833).

    Parameters
    ----------
    path : Path
        A Python source file.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__} {_cpu()}".encode())
    digest.update(sources_hash([path]).encode())
    return digest.hexdigest()[:16]


def code_hash(functions: Sequence[Callable[..., Any]], modules: Sequence[str | Path] = ()) -> str:
    """Return the SHA-256 of what kernels compute: the identity that a bundle is held against.

    It covers each kernel's code, every kernel and constant that it names, directly or not, the JIT policy, and the
    code of whole ``modules``. Comments, docstrings and layout are left out, and so is all that no kernel names: a
    typo mended or a feature added elsewhere refuses no bundle. Python's own version is in it, since the syntax tree
    is, and Numba's is not.

    Parameters
    ----------
    functions : sequence of kernel
        Compiled by :func:`kernel`.
    modules : sequence of path
        Source files that are hashed as a whole, without what they import.
    """
    described = [json.dumps(POLICY, sort_keys=True)]
    seen: set[str] = set()
    queue = [inspect.unwrap(function) for function in functions]
    while queue:
        function = queue.pop()
        name = f"{function.__module__}.{function.__qualname__}"
        if name in seen:
            continue
        seen.add(name)
        described.append(f"{name} {_code_of(textwrap.dedent(inspect.getsource(function)))}")
        for used in sorted(set(function.__code__.co_names) & set(function.__globals__)):
            value = function.__globals__[used]
            plain = inspect.unwrap(value) if callable(value) else value
            if inspect.isfunction(plain) and hasattr(value, "py_func"):
                queue.append(plain)
            elif isinstance(value, (bool, int, float, str, tuple, np.generic)):
                described.append(f"{name} {used}={value!r}")
    described[1:] = sorted(described[1:])
    described += [_code_of(Path(module).read_text()) for module in modules]
    return hashlib.sha256("\n".join(described).encode()).hexdigest()


@lru_cache(maxsize=4096)  # three quarters of a fingerprint's time, and a promotion takes several
def _code_of(source: str) -> str:
    """Return source as a syntax tree in text, without comments, docstrings and positions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            body[0] = ast.Pass()  # type: ignore[index]
    return ast.dump(tree)


def sources_hash(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of source files, byte by byte, and of every project module they import."""
    files: set[Path] = set()
    queue = [Path(p).resolve() for p in paths]
    while queue:
        file = queue.pop()
        if file not in files:
            files.add(file)
            queue.extend(_imports(file))
    digest = hashlib.sha256()
    for file in sorted(files, key=_label):
        content = file.read_bytes()
        digest.update(f"{_label(file)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _label(file: Path) -> str:
    return file.relative_to(_ROOT).as_posix() if file.is_relative_to(_ROOT) else file.name


@lru_cache(maxsize=1)
def _cpu() -> str:
    return f"{llvmlite.binding.get_host_cpu_name()} {numba_config.CPU_NAME} {numba_config.CPU_FEATURES}"


_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(research[\w.]*)[ \t]+import[ \t]*(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.M
)


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    """Return the project's files that a source file imports (absolute imports only: the linter forbids others).

    By the look of the lines, which finds every import and at worst one in a docstring too: the syntax trees of all
    features took two thirds of the time in which a process loads them.
    """
    names: list[str] = []
    for module, imported, modules in _IMPORT.findall(file.read_text().replace("\\\n", " ")):
        if module:
            names += [module, *(f"{module}.{name}" for name in re.findall(r"\w+", imported))]
        else:
            names += re.findall(r"research[\w.]*", modules)
    found = []
    for name in names:
        stem = _ROOT.joinpath(*name.split("."))
        found += [p for p in (stem.with_suffix(".py"), stem / "__init__.py") if p.is_file()]
    return tuple(dict.fromkeys(found))


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of a registered kernel.

    Parameters
    ----------
    name : str
        As users type it.
    default : int or float
        Also fixes the type: an ``int`` default refuses fractions.
    low, high : int or float
        Inclusive range.
    """

    name: str
    default: int | float
    low: int | float
    high: int | float

    def check(self, owner: str, given: object) -> int | float:
        """Return ``given`` as this parameter's type, or raise :class:`InvalidInput`."""
        kind = type(self.default)
        subject = f"{owner}.{self.name}"
        if isinstance(given, bool) or not isinstance(given, (int, float, np.integer, np.floating)):
            raise InvalidInput(subject, f"must be {'a whole number' if kind is int else 'a number'}", given)
        if not self.low <= given <= self.high:  # not a number is neither
            raise InvalidInput(subject, f"must lie in [{self.low}, {self.high}]", given)
        if kind is int and float(given) != int(given):
            raise InvalidInput(subject, "must be a whole number", given)
        return kind(given)


@dataclass(frozen=True, slots=True)
class KernelSpec:
    """A registered kernel: all that a face, a test or a bundle needs to know of it.

    Parameters
    ----------
    name : str
        Registry key.
    kernel : callable
        ``kernel(*inputs, *params, state, out)``, compiled by :func:`kernel`.
    inputs : tuple of str
        Columns read, in the kernel's order: float64, but for ``ts``, which is int64 nanoseconds.
    params : tuple of Param
        In the kernel's order.
    outputs : tuple of str
        Rows of ``out``; a single output is named ``""`` and takes the column name alone.
    state_size : callable
        Number of float64 slots, from the parameters.
    lookback : callable
        Bars consumed up to and including the first finite output, from the parameters.
    warmup : callable
        Bars consumed after a cold start from which the output equals the long-running one within ``warmup_rtol``,
        the one of the last of them included; :data:`UNBOUNDED` if there is no such number.
    warmup_rtol : float
        Relative to the scale of the output; 0 claims equality to the bit.
    unit : str
        Unit of the output.
    gap : str
        What a bar with NaN does.
    reference : str
        Original source of the formula.
    """

    name: str
    kernel: Callable[..., None]
    inputs: tuple[str, ...]
    params: tuple[Param, ...]
    outputs: tuple[str, ...]
    state_size: Callable[..., int]
    lookback: Callable[..., int]
    warmup: Callable[..., int]
    warmup_rtol: float
    unit: str
    gap: str
    reference: str

    def arguments(self, given: Mapping[str, object] | None = None) -> tuple[int | float, ...]:
        """Return the parameters in the kernel's order, checked, with defaults filled in.

        Raises
        ------
        InvalidInput
            If a name is unknown, or a value has the wrong type or lies outside its range.
        """
        given = dict(given or {})
        unknown = sorted(set(given) - {p.name for p in self.params}, key=str)
        if unknown:
            known = ", ".join(p.name for p in self.params) or "none"
            raise InvalidInput(f"{self.name}.{unknown[0]}", f"is not a parameter (known: {known})", given[unknown[0]])
        return tuple(p.check(self.name, given.get(p.name, p.default)) for p in self.params)

    def initial_state(self, arguments: Sequence[int | float]) -> FloatArray:
        """Return the state of a kernel that has seen nothing."""
        return np.zeros(self.state_size(*arguments))

    def run(self, inputs: Sequence[FloatArray], arguments: Sequence[int | float], state: FloatArray) -> FloatArray:
        """Advance ``state`` over a chunk and return the outputs, shape (n_outputs, n)."""
        out = np.empty((len(self.outputs), inputs[0].shape[0]))
        self.kernel(*inputs, *arguments, state, out)
        return out

    def apply(self, inputs: Sequence[ArrayLike], params: Mapping[str, object] | None = None) -> FloatArray:
        """Return the outputs over whole columns from a cold start, shape (n_outputs, n).

        Parameters
        ----------
        inputs : sequence of (n,) array_like
            Columns in the order of :attr:`inputs`; times as datetimes of any unit or int64 nanoseconds, a basket as
            (n, members).
        params : mapping, optional
            Parameters by name; the others take their defaults.

        Raises
        ------
        InvalidInput
            If there are not as many inputs as the kernel reads, their lengths differ, or a parameter is wrong.
        """
        arguments = self.arguments(params)
        # Writable copies: a read-only array is another type to Numba, and would compile the kernel once more.
        columns: list[Any] = [
            _times(f"{self.name} inputs", column) if name == "ts" else np.array(column, np.float64)
            for name, column in zip(self.inputs, inputs, strict=False)
        ]
        wanted = [2 if name.startswith("basket.") else 1 for name in self.inputs]
        shaped = len(inputs) == len(wanted) and [column.ndim for column in columns] == wanted
        if not shaped or len({column.shape[0] for column in columns}) > 1:
            shapes = [np.shape(column) for column in inputs]
            raise InvalidInput(f"{self.name} inputs", f"must be {', '.join(self.inputs)}, of one length", shapes)
        return self.run(columns, arguments, self.initial_state(arguments))

    def column_names(self, key: str) -> list[str]:
        """Return the output columns of an entry called ``key``."""
        return [key if not name else f"{key}.{name}" for name in self.outputs]


def _times(subject: str, column: ArrayLike) -> IntArray:
    """Return times as int64 nanoseconds; what is neither that nor a datetime is refused."""
    given = np.asarray(column)
    if given.dtype.kind == "M":
        return given.astype("datetime64[ns]").astype(np.int64)
    if given.dtype != np.int64:
        raise InvalidInput(subject, "must have ts as datetimes or int64 nanoseconds", str(given.dtype))
    return given.copy()
