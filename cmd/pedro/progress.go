package main

import (
	"fmt"
	"io"
	"os"
)

// progress shows what is being looked at, in one line that is overwritten, and
// only on a terminal.
type progress struct {
	w    io.Writer
	live bool
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if f, isFile := w.(*os.File); isFile {
		info, err := f.Stat()
		p.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) step(what string) {
	if p.live {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s …", what)
	}
}

func (p *progress) done() {
	if p.live {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
