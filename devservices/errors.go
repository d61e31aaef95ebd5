package devservices

import "errors"

// ErrNotInstalled is wrapped by the error of every Start function that found neither the server's program nor a
// container engine. The error's text names the line that installs the program on this system.
var ErrNotInstalled = errors.New("not installed")

// ErrClosed is wrapped by the errors of methods called on a server after its Close.
var ErrClosed = errors.New("server is closed")

// ErrNotRunning is wrapped by the errors of Pause and Kill on a server that is not running.
var ErrNotRunning = errors.New("server is not running")

// errPortTaken says that somebody who does not lock ports took ours before the server could listen on it.
var errPortTaken = errors.New("port is taken")

// errDamaged says that a server did not start from the template, which has been discarded.
var errDamaged = errors.New("template did not work")
