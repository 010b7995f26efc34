# Reads a file with the safetensors package and prints a line a tensor, "NAME DTYPE SHAPE", then the
# metadata as KEY=VALUE. Exit status 77 where the package is missing.
import sys

try:
    from safetensors import safe_open
except ImportError:
    sys.exit(77)

with safe_open(sys.argv[1], framework="np") as f:
    for name in sorted(f.keys()):
        part = f.get_slice(name)
        print(name, part.get_dtype(), "x".join(str(n) for n in part.get_shape()))
    for key, value in sorted((f.metadata() or {}).items()):
        print(f"{key}={value}")
