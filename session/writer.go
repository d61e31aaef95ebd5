package session

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
)

// writer saves the session before the first byte. It has all that net/http's
// own writers have, and says http.ErrNotSupported where the one below has not.
type writer struct {
	http.ResponseWriter
	s     *Session
	begun bool
	err   error // the save failed: what the handler writes is discarded
}

// Unwrap is for http.ResponseController: deadlines and full duplex.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// begin saves the session and sets the headers, once. It reports whether the
// handler's response may go out.
func (w *writer) begin() bool {
	if w.begun {
		return w.err == nil
	}
	w.begun = true
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.commit(s.r.Context()); err != nil {
		w.err = err
		s.over = true
		s.m.failed(s, err)
		serviceUnavailable(w.ResponseWriter)
		return false
	}
	w.headers()
	s.over = true
	return true
}

// headers sets what the response says about the session. The caller holds the
// session's lock.
func (w *writer) headers() {
	s := w.s
	if !s.loaded {
		return
	}
	h := w.Header()
	addVary(h)
	if c, ok := s.m.format.(*carryFormat); ok && s.cookie == cookieKeep && c.outdated(s.id) {
		s.cookie = cookieSet
	}
	if s.cookie == cookieKeep {
		return
	}
	s.m.setCookie(h, s)
	if !strings.Contains(h.Get("Cache-Control"), "no-store") {
		h.Set("Cache-Control", "no-store")
	}
}

// addVary says that the response depends on the cookie.
func addVary(h http.Header) {
	for _, v := range h["Vary"] {
		if v == "*" || strings.Contains(strings.ToLower(v), "cookie") {
			return
		}
	}
	h["Vary"] = append(h["Vary"], "Cookie")
}

// finish is the end of the handler.
func (w *writer) finish() {
	if !w.begun {
		w.begin()
		return
	}
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.err != nil || !s.loaded || len(s.changes) == 0 && s.login == nil {
		return
	}
	if err := s.commit(context.WithoutCancel(s.r.Context())); err != nil {
		s.m.failed(s, err) // the response is out: nobody else can be told
	}
}

// WriteHeader saves the session first, but for informational responses, which
// come before the real one.
func (w *writer) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(code)
		return
	}
	if w.begun {
		if w.err == nil {
			w.ResponseWriter.WriteHeader(code)
		}
		return
	}
	if w.begin() {
		w.ResponseWriter.WriteHeader(code)
	}
}

// Write saves the session first.
func (w *writer) Write(p []byte) (int, error) {
	if !w.begin() {
		return 0, w.err
	}
	return w.ResponseWriter.Write(p)
}

// WriteString is io.StringWriter.
func (w *writer) WriteString(p string) (int, error) {
	if !w.begin() {
		return 0, w.err
	}
	return io.WriteString(w.ResponseWriter, p)
}

// ReadFrom is how net/http sends files.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if !w.begin() {
		return 0, w.err
	}
	return io.Copy(w.ResponseWriter, r)
}

// Flush sends what there is.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *writer) FlushError() error {
	if !w.begin() {
		return w.err
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack saves the session and hands the connection over. The headers are the
// handler's now: a cookie that an earlier save has made is in them for whoever
// writes them, and no other is made, since it might get lost.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil || w.begun {
		return conn, rw, err // an ordinary response can still be sent
	}
	w.begun = true
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	failure := s.commit(s.r.Context())
	if s.regenerate && failure == nil {
		s.regenerate, failure = false, ErrHeadersSent
	}
	if failure != nil {
		s.m.failed(s, failure)
	}
	w.headers()
	return conn, rw, nil
}

// Push is http.Pusher.
func (w *writer) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}
