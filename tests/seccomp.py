"""Runs something where the kernel refuses io_uring: python -m tests.seccomp -- command arguments...

install() puts a seccomp filter on the calling thread and its future threads and children, for good: use it in a child process.
"""
import ctypes
import errno
import os
import struct
import sys

IO_URING_SETUP = 425                                    # the same on all architectures but alpha
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
LOAD_WORD, JUMP_EQUAL, JUMP_NOT_BELOW, RETURN = 0x20, 0x15, 0x35, 0x06      # BPF
THIRD_ARGUMENT = 32                                     # the low half of it, in struct seccomp_data


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p)]


def install(code=errno.EPERM, number=IO_URING_SETUP, bytes_below=None):
    """From now on the system call `number` fails with `code`; with `bytes_below`, where its third argument is less."""
    small = [(LOAD_WORD, 0, 0, THIRD_ARGUMENT), (JUMP_NOT_BELOW, 1, 0, bytes_below)] if bytes_below is not None else []
    instructions = [(LOAD_WORD, 0, 0, 0),               # the system call's number
                    (JUMP_EQUAL, 0, 1 + len(small), number),
                    *small,
                    (RETURN, 0, 0, ERRNO | code),
                    (RETURN, 0, 0, ALLOW)]
    text = b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(text, len(text))
    program = Program(len(instructions), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)):
        raise OSError(ctypes.get_errno(), "seccomp")


def main(arguments):
    if arguments and arguments[0] == "--":
        arguments = arguments[1:]
    install()
    os.execvp(arguments[0], arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
