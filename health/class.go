package health

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// cause is what is known of a check's error. It is worked out once, and not
// under a lock: the methods of an error are the host's code.
type cause struct {
	err         error
	class, text string
}

// stale is the cause of a result that nobody believes any more.
var stale, _ = examine(errStale)

// examine asks an error what it says, and what it means for the check.
func examine(err error) (cause, Status) {
	if err == nil {
		return cause{}, Pass
	}
	return cause{err: err, class: class(err), text: err.Error()}, statusOf(err)
}

// examine is the function of that name, for errors whose methods may panic: a
// nil pointer that was returned as an error is one.
func (ch *check) examine(err error) (c cause, outcome Status) {
	defer func() {
		if v := recover(); v != nil {
			ch.logPanic("its error", v)
			c, outcome = examine(fmt.Errorf("%w: a %T: %v", errBadError, err, v))
		}
	}()
	return examine(err)
}

// class says what kind of error it is, in words that give nothing away: no
// host, no name, no text of a server.
func class(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, errPanicked), errors.Is(err, errBadError):
		return "panic"
	case errors.Is(err, errNoResult):
		return "not checked yet"
	case errors.Is(err, ErrSaturated):
		return "saturated"
	case errors.Is(err, ErrFallback):
		return "on fallback"
	case errors.Is(err, errStale):
		return "out of date"
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded), os.IsTimeout(err):
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection lost"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH):
		return "network unreachable"
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "name not resolved"
	}
	if isTLS(err) {
		return "tls"
	}
	if state, ok := errors.AsType[interface {
		error
		SQLState() string
	}](err); ok {
		return sqlClass(state.SQLState())
	}
	for prefix, class := range map[string]string{
		"NOAUTH": "authentication", "WRONGPASS": "authentication", "NOPERM": "authorization",
		"LOADING": "starting up", "READONLY": "read-only", "OOM": "out of memory",
	} {
		if hasReply(err, prefix) {
			return class
		}
	}
	if statusOf(err) == Warn {
		return "degraded"
	}
	return "error"
}

func isTLS(err error) bool {
	_, alert := errors.AsType[tls.AlertError](err)
	_, verification := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	return alert || verification || record || authority || host || invalid
}

// sqlClass maps the error codes of PostgreSQL (appendix A of its manual).
func sqlClass(state string) string {
	switch {
	case strings.HasPrefix(state, "28"):
		return "authentication"
	case state == "53300":
		return "too many connections"
	case strings.HasPrefix(state, "53"):
		return "out of resources"
	case state == "57P03":
		return "starting up"
	case strings.HasPrefix(state, "57"):
		return "interrupted by the server"
	case state == "25006":
		return "read-only"
	case strings.HasPrefix(state, "08"):
		return "connection lost"
	default:
		return "server error"
	}
}

// hasReply reports whether an error in the chain is a reply of Redis that
// begins with prefix.
func hasReply(err error, prefix string) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if strings.HasPrefix(err.Error(), prefix+" ") {
			return true
		}
	}
	return false
}
