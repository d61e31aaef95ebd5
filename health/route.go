package health

import (
	"net/http"
	"slices"
	"strings"
)

type endpoint int

const (
	endpointBasic endpoint = iota
	endpointLive
	endpointReady
	endpointStartup
	endpointDetailed
)

func endpointOf(name string) (endpoint, bool) {
	switch name {
	case "live":
		return endpointLive, true
	case "ready":
		return endpointReady, true
	case "startup":
		return endpointStartup, true
	case "detailed":
		return endpointDetailed, true
	default:
		return endpointBasic, false
	}
}

// route reads what is below the mount from its end: most routers do not tell
// where it begins, and a router around them may tell only of a part before it.
func (h *handler) route(r *http.Request) (e endpoint, check string, ok bool) {
	path := strings.TrimSuffix(below(r), "/")
	if path == "" {
		return endpointBasic, "", true
	}
	i := strings.LastIndexByte(path, '/')
	last := path[i+1:]
	if e, ok := endpointOf(last); ok {
		return e, "", true
	}
	known := h.knows(last)
	if i > 0 {
		parent := path[strings.LastIndexByte(path[:i], '/')+1 : i]
		if e, ok := endpointOf(parent); ok {
			return e, last, known
		}
	}
	if known {
		return endpointBasic, last, true
	}
	return endpointBasic, "", mounted(r.Pattern, strings.TrimSuffix(r.URL.Path, "/"))
}

// below cuts the mount off the path, if the pattern tells where it ends, so
// that nothing in it passes for an endpoint or a check. A pattern without a
// subtree, such as "GET /live", tells nothing. Neither does one whose prefix has
// been stripped from the path already.
func below(r *http.Request) string {
	_, mount, _ := strings.Cut(r.Pattern, "/") // after the method and the host
	if i := strings.LastIndexByte(mount, '/') + 1; mount[i:] == "*" || strings.HasSuffix(mount, "...}") {
		mount = mount[:i]
	}
	if !strings.HasSuffix(mount, "/") {
		return r.URL.Path
	}
	rest := strings.TrimPrefix(r.URL.Path, "/")
	for mount != "" {
		var want, have string
		var ok bool
		want, mount, _ = strings.Cut(mount, "/")
		if have, rest, ok = strings.Cut(rest, "/"); !ok || !matches(r, want, have) {
			return r.URL.Path
		}
	}
	return rest
}

// matches reports whether a segment of the path is that of the pattern, or what
// the router took its wildcard for.
func matches(r *http.Request, want, have string) bool {
	name, wildcard := strings.CutPrefix(want, "{")
	return have == want || wildcard && have == r.PathValue(strings.TrimSuffix(name, "}"))
}

// mounted reports whether the path is where the handler is mounted, and not
// some unknown thing below it. Only the standard router tells: after others
// everything counts.
func mounted(pattern, path string) bool {
	_, below, ok := strings.Cut(pattern, "/")
	if !ok || !strings.HasSuffix(below, "/") || strings.ContainsRune(below, '{') {
		return true
	}
	return strings.HasSuffix("/"+strings.TrimSuffix(below, "/"), path)
}

func (h *handler) knows(name string) bool {
	return slices.ContainsFunc(h.c.snapshot().report.Checks, func(r CheckReport) bool { return r.Name == name })
}
