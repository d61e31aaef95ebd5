package health

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// A Level is how much somebody may see.
type Level int

// The levels.
const (
	// LevelNothing shows the verdict only.
	LevelNothing Level = iota
	// LevelStates adds the names of the checks, their states, the classes of
	// their errors and their times.
	LevelStates
	// LevelEverything adds messages, details, gauges, advice, name and version.
	LevelEverything
)

// A HandlerOption is a setting of [Handler].
type HandlerOption func(*handler)

// WithLevel sets the function that decides what a request may see. It must be
// quick, since a probe waits for it. nil keeps the default: LevelStates for
// everybody.
func WithLevel(f func(*http.Request) Level) HandlerOption {
	return func(h *handler) {
		if f != nil {
			h.level = f
		}
	}
}

// WithRedactor sets the function that turns an error of a check into the text
// that those see who may see everything. nil keeps the default, the error's own
// text.
func WithRedactor(f func(check string, err error) string) HandlerOption {
	return func(h *handler) {
		if f != nil {
			h.redact = f
		}
	}
}

type handler struct {
	c      *Checker
	level  func(*http.Request) Level
	redact func(check string, err error) string // nil: the error's own text
}

// Handler serves the endpoints that the package's documentation lists. It finds
// out by itself where it is mounted, with or without the prefix stripped. Where
// the router does not say so in Request.Pattern, as that of net/http does for a
// subtree ("/api/health/"), the last two names of the mount should be those of
// no endpoint and no check.
func Handler(c *Checker, opts ...HandlerOption) http.Handler {
	h := &handler{
		c:     c,
		level: func(*http.Request) Level { return LevelStates },
	}
	for _, opt := range opts {
		if opt != nil {
			opt(h)
		}
	}
	return h
}

// The values of headers, shared so that setting them costs nothing.
var (
	headerNoStore = []string{"no-store"}
	headerNosniff = []string{"nosniff"}
	headerVary    = []string{"Accept"}
	headerRetry   = []string{"1"} // DefaultFailingInterval: when a recovery may be seen
	headerAllow   = []string{"GET, HEAD"}
)

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header["Cache-Control"] = headerNoStore
	header["X-Content-Type-Options"] = headerNosniff
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header["Allow"] = headerAllow
		http.Error(w, "use GET or HEAD", http.StatusMethodNotAllowed)
		return
	}
	header["Vary"] = headerVary
	q := query{level: h.level(r)}
	var ok bool
	if q.endpoint, q.check, ok = h.route(r); !ok {
		http.Error(w, "no such health endpoint", http.StatusNotFound)
		return
	}
	if r.URL.RawQuery != "" {
		values := r.URL.Query()
		q.exclude, q.verbose, q.still = excluded(values), values.Has("verbose"), values.Get("refresh") == "off"
		q.format = formats[values.Get("format")]
	}
	if q.format == 0 {
		q.format = negotiate(r.Header["Accept"], q.verbose)
	}
	h.c.demand(r.Context(), q)
	h.write(w, r.Method, q)
}

// query is what a request asks for.
type query struct {
	endpoint endpoint
	check    string   // alone, if not empty
	exclude  []string // names of checks that do not count
	verbose  bool
	still    bool // the page shall not reload itself
	level    Level
	format   format
}

// restsOn reports whether a check counts, unless the answer is that of /live,
// which rests on none.
func (q query) restsOn(check string, startup bool) bool {
	switch {
	case q.check != "" && q.check != check:
		return false
	case q.endpoint == endpointStartup && !startup:
		return false
	default:
		return !slices.Contains(q.exclude, check)
	}
}

// excluded returns the names in ?exclude=, which may be repeated and may have
// commas.
func excluded(values url.Values) []string {
	var names []string
	for _, list := range values["exclude"] {
		for name := range strings.SplitSeq(list, ",") {
			names = append(names, name)
		}
	}
	return names
}
