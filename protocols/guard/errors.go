package guard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/shutterfleet/shutterfleet/fleet"
)

// ErrUnusable marks a needs-credentials failure in which no login was sent:
// none is known, or the camera offers no way to log in that is safe to use
// here. It says nothing against the credentials, so another endpoint of the
// same camera may still be tried with them.
var ErrUnusable = errors.New("no login was sent")

// ErrOnlyBasic marks the ErrUnusable of a camera that offers Basic alone, to a
// Login that wants to try safer ways first.
var ErrOnlyBasic = errors.New("only Basic is offered")

// CameraError gives any network, TLS, HTTP or context error the cause that a
// capture carries. Doing names the operation and its subject ("get snapshot
// http://10.0.0.7/s.jpg"); it is left out when empty. A *fleet.CameraError
// keeps its cause, and nil stays nil.
func CameraError(err error, doing string) error {
	if err == nil {
		return nil
	}
	cause, why := classify(err)
	text := "%w"
	if why != "" {
		text = why + ": %w"
	}
	if doing != "" {
		text = escape(doing) + ": " + text
	} else if ce, ok := err.(*fleet.CameraError); ok && why == "" { //nolint:errorlint // only the very value needs no second wrapping
		return ce
	}
	return fleet.Errorf(cause, text, err)
}

// escape keeps percent signs of an address out of the format.
func escape(s string) string { return strings.ReplaceAll(s, "%", "%%") }

// classify finds an error's cause and, where the system's own words say little
// to an operator, a few words in front of them.
func classify(err error) (fleet.Cause, string) {
	if ce, ok := errors.AsType[*fleet.CameraError](err); ok {
		return ce.Cause, ""
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return fleet.CauseUnreachable, "no such host"
	}
	if ne, ok := errors.AsType[*net.OpError](err); ok && ne.Op == "dial" && ne.Timeout() {
		return fleet.CauseUnreachable, "no answer to a connect"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fleet.CauseProtocol, "no TLS behind this port"
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fleet.CauseTimeout, "silent until the deadline"
	case errors.Is(err, context.Canceled):
		return fleet.CauseDeadline, "given up"
	case errors.Is(err, syscall.ECONNREFUSED):
		return fleet.CauseRefused, ""
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF):
		return fleet.CauseRefused, "the camera hung up"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fleet.CauseProtocol, "the camera hung up in the middle of its answer"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.EHOSTDOWN), errors.Is(err, syscall.ENETDOWN),
		errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fleet.CauseUnreachable, ""
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.ENOBUFS):
		return fleet.CauseInternal, "this machine is out of sockets"
	case strings.Contains(err.Error(), "response headers exceeded"):
		// net/http has no value for it; a test holds the words.
		return fleet.CauseTooLarge, ""
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return fleet.CauseTimeout, "silent until the deadline"
	}
	return fleet.CauseProtocol, ""
}

// tooLarge is what a body or stream beyond its limit ends in.
func tooLarge(limit int64) error {
	return fleet.Errorf(fleet.CauseTooLarge, "the answer is longer than its limit of %s", bytesText(limit))
}

func bytesText(n int64) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
