package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// A browser is a private window of a headless Chromium: its cookies are its own.
type browser struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // chromedp keeps the tab in it

	mu     sync.Mutex
	errors []string // on the console, and of the policy
}

// window opens a window of a Chromium of its own, so that its cookies are its
// own as well.
func window(t *testing.T) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium(t)),
		chromedp.NoSandbox, // root has none
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.WSURLReadTimeout(time.Minute),
		chromedp.WindowSize(1100, 900))
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	return listen(t, ctx)
}

// chromium returns the path of the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const missing = "no Chromium is installed: run make setup"
	if os.Getenv("CI") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// tab opens another tab in the same window.
func (b *browser) tab() *browser {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	return listen(b.t, ctx)
}

func listen(t *testing.T, ctx context.Context) *browser {
	t.Helper()
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *log.EventEntryAdded:
			// That an answer is 503 is what some tests want to see.
			if ev.Entry.Level == log.LevelError && !strings.Contains(ev.Entry.Text, "the server responded with a status of") {
				b.errors = append(b.errors, ev.Entry.Text)
			}
		case *runtime.EventExceptionThrown:
			b.errors = append(b.errors, ev.ExceptionDetails.Text)
		case *runtime.EventConsoleAPICalled:
			if ev.Type == runtime.APITypeError {
				b.errors = append(b.errors, fmt.Sprint(ev.Args))
			}
		}
	})
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable()); err != nil {
		t.Fatal(err)
	}
	return b
}

// do performs actions within a time that is long for any of them.
func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := b.try(actions...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) try(actions ...chromedp.Action) error {
	ctx, cancel := context.WithTimeoutCause(b.ctx, 30*time.Second, errors.New("the browser takes too long"))
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return nil
}

// text returns the text of the page.
func (b *browser) text() string {
	b.t.Helper()
	var s string
	b.do(chromedp.Evaluate("document.body.innerText", &s))
	return s
}

func (b *browser) title() string {
	b.t.Helper()
	var s string
	b.do(chromedp.Title(&s))
	return s
}

// submit sends the form that has the field, as a click on its button does.
func (b *browser) submit(selector string) {
	b.t.Helper()
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		resp, err := chromedp.RunResponse(ctx, chromedp.Click(selector, chromedp.ByQuery))
		if err == nil && resp != nil && resp.Status >= 500 {
			err = fmt.Errorf("status %d after a click on %s", resp.Status, selector)
		}
		return err
	}))
}

// clean fails the test if the page said anything on the console, or if axe
// finds something that keeps people out.
func (b *browser) clean(where string) {
	b.t.Helper()
	b.mu.Lock()
	if len(b.errors) > 0 {
		b.t.Errorf("%s: on the console: %q", where, b.errors)
	}
	b.mu.Unlock()
	var found string
	b.do(chromedp.Evaluate(axeSource(b.t), nil),
		chromedp.Evaluate(`axe.run().then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, nodes: v.nodes.map(n => n.html)}))))`,
			&found, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	var violations []json.RawMessage
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		b.t.Fatal(err)
	}
	for _, v := range violations {
		b.t.Errorf("%s: axe: %s", where, v)
	}
}

// axeSource returns axe-core, which it installs from the lock file first if it
// is not there.
func axeSource(t *testing.T) string {
	t.Helper()
	axeOnce.Do(func() {
		const path = "node_modules/axe-core/axe.min.js"
		if _, err := os.Stat(path); err != nil {
			if out, err := exec.Command("npm", "ci", "--no-audit", "--no-fund").CombinedOutput(); err != nil {
				errAxe = fmt.Errorf("npm ci: %w\n%s", err, out)
				return
			}
		}
		data, err := os.ReadFile(path)
		axeText, errAxe = string(data)+";0", err // ;0: the value of the script must be one that can be sent
	})
	if errAxe != nil {
		t.Fatal(errAxe)
	}
	return axeText
}

var (
	axeOnce sync.Once
	axeText string
	errAxe  error
)

// screenshot writes the page to artifacts/name.png.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := filepath.Join("..", "..", "..", "artifacts")
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// sessionCookie reads the session's cookie, which no script of the page can.
func sessionCookie(into *string) func(context.Context) error {
	return func(ctx context.Context) error {
		cookies, err := network.GetCookies().Do(ctx)
		for _, c := range cookies {
			if strings.HasSuffix(c.Name, "pedro.sid") {
				*into = c.Value
			}
		}
		return err
	}
}
