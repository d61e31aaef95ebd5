package health

import (
	"strconv"
	"strings"
)

type format int

const (
	formatJSON   format = iota + 1
	formatHealth        // application/health+json
	formatText
	formatHTML
)

// formats are the values of ?format=.
var formats = map[string]format{"json": formatJSON, "health": formatHealth, "text": formatText, "html": formatHTML}

var contentTypes = map[format][]string{
	formatJSON:   {"application/json"},
	formatHealth: {"application/health+json"},
	formatText:   {"text/plain; charset=utf-8"},
	formatHTML:   {"text/html; charset=utf-8"},
}

// negotiate chooses the form by the Accept header (RFC 9110, section 12.5.1).
// Who accepts anything, as probes do, gets JSON, or text with ?verbose.
func negotiate(accept []string, verbose bool) format {
	otherwise := formatJSON
	if verbose {
		otherwise = formatText
	}
	best, bestQ := otherwise, 0.0
	for _, line := range accept {
		for part := range strings.SplitSeq(line, ",") {
			media, params, _ := strings.Cut(part, ";")
			var f format
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "application/json":
				f = formatJSON
			case "application/health+json":
				f = formatHealth
			case "text/plain":
				f = formatText
			case "text/html":
				f = formatHTML
			case "*/*", "application/*", "text/*":
				f = otherwise
			default:
				continue
			}
			if q := quality(params); q > bestQ {
				best, bestQ = f, q
			}
		}
	}
	return best
}

// quality returns the q parameter, 1 if there is none and 0 if it is nonsense.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		if value, ok := strings.CutPrefix(strings.TrimSpace(param), "q="); ok {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
