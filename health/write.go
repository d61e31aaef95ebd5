package health

import (
	"net/http"
	"strconv"
	"time"
)

// view is what one request gets to see.
type view struct {
	query
	Report                                         // as the snapshot has it, but for the checks, which are those that count
	Verdict   Status                               // of what was asked for
	Silent    []string                             // heartbeats that are
	Heartbeat []string                             // all of them
	redact    func(check string, err error) string // nil: the error's own text
}

// readyKey names an answer that a snapshot has ready.
type readyKey struct {
	endpoint endpoint
	level    Level
}

// response is an answer, and what its headers say about it.
type response struct {
	code   int
	body   []byte
	length []string // of the body, for the header
}

// render makes the answers that most requests get: JSON, nothing left out, all
// heartbeats beating, and nothing in it that is different at each request.
func (s *snapshot) render() {
	s.ready = make(map[readyKey]response, 12)
	for _, e := range []endpoint{endpointBasic, endpointLive, endpointReady, endpointStartup} {
		for _, level := range []Level{LevelNothing, LevelStates} {
			q := query{endpoint: e, level: level, format: formatJSON}
			v := view{query: q, Report: s.report}
			v.Verdict, v.Checks = s.decide(q, true)
			s.ready[readyKey{e, level}] = v.response(v.json())
		}
	}
}

// response adds the status code to a body.
func (v *view) response(body []byte) response {
	code := http.StatusOK
	if v.Verdict == Fail && v.endpoint != endpointDetailed {
		code = http.StatusServiceUnavailable
	}
	return response{code: code, body: body, length: []string{strconv.Itoa(len(body))}}
}

// write answers a request.
func (h *handler) write(w http.ResponseWriter, method string, q query) {
	s := h.c.snapshot()
	alive := h.c.Alive()
	var resp response
	ok := alive && q.format == formatJSON && q.check == "" && q.exclude == nil
	if ok {
		resp, ok = s.ready[readyKey{q.endpoint, q.level}]
	}
	if !ok {
		v := view{query: q, Report: s.report, redact: h.redact}
		v.Live = alive
		v.Uptime = time.Since(h.c.began)
		for _, b := range s.beats {
			v.Heartbeat = append(v.Heartbeat, b.name)
			if h.c.silent(b) {
				v.Silent = append(v.Silent, b.name)
			}
		}
		v.Verdict, v.Checks = s.decide(q, alive)
		resp = v.response(v.body(w.Header()))
	}
	header := w.Header()
	header["Content-Type"] = contentTypes[q.format]
	header["Content-Length"] = resp.length
	if resp.code == http.StatusServiceUnavailable {
		header["Retry-After"] = headerRetry
	}
	w.WriteHeader(resp.code)
	if method != http.MethodHead {
		_, _ = w.Write(resp.body)
	}
}

// body renders the view in its form.
func (v *view) body(header http.Header) []byte {
	switch v.format {
	case formatHealth:
		return v.healthJSON()
	case formatText:
		return v.text()
	case formatHTML:
		return v.page(header)
	default:
		return v.json()
	}
}

// everything reports whether all may be shown.
func (v *view) everything() bool { return v.level >= LevelEverything }

// message returns the text of a check's error for those who may see it.
func (v *view) message(r *CheckReport) string {
	if r.Err == nil || !v.everything() {
		return ""
	}
	if v.redact == nil {
		return r.text
	}
	return v.redact(r.Name, r.Err)
}
