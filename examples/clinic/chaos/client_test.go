package chaos_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
)

// client is somebody who uses the clinic, and remembers what he was told.
type client struct {
	t   *testing.T
	h   *host
	l   *ledger
	n   int
	rng *rand.Rand

	web      *rig.Client
	seq      int
	loggedIn login
	draft    string   // the last one whose saving was acknowledged
	maybe    []string // those whose saving was tried since this login, and not acknowledged
	patient  int64
}

// login is what a client knows of it.
type login int

const (
	out login = iota
	in
	unknown // the answer got lost
)

func newClient(t *testing.T, h *host, l *ledger, n int, rng *rand.Rand) *client {
	t.Helper()
	return &client{t: t, h: h, l: l, n: n, rng: rng, web: rig.NewClient(h.front.URL)}
}

func (c *client) run(ctx context.Context) {
	defer func() { c.web.Close() }()
	for ctx.Err() == nil && !c.t.Failed() {
		if c.loggedIn != in {
			c.login(ctx)
			continue
		}
		switch k := c.rng.IntN(1000); {
		case k < 300:
			c.me(ctx)
		case k < 450:
			c.saveDraft(ctx)
		case k < 600:
			c.readDraft(ctx)
		case k < 750:
			c.addPatient(ctx)
		case k < 950:
			c.book(ctx)
		case k < 995:
			c.importFile(ctx)
		default: // seldom: the hash of the password that follows takes a processor's tenth of a second
			c.logout(ctx)
		}
	}
}

// ask sends a request. ok says that there was an answer that means something:
// not a broken connection, and not "try again later".
func (c *client) ask(ctx context.Context, method, path string, body any) (r rig.Reply, ok bool) {
	r, err := c.web.Do(ctx, method, path, body)
	c.l.count(method+" "+path, r.Status, err)
	if err != nil || r.Status >= 500 {
		select { // as a person would
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
		return r, false
	}
	if r.Status == http.StatusUnauthorized && c.loggedIn == in {
		c.t.Errorf("client %d: %s %s: logged out, and did not ask for it", c.n, method, path)
		return r, false
	}
	return r, true
}

func (c *client) login(ctx context.Context) {
	c.web.Close()
	c.web = rig.NewClient(c.h.front.URL)
	c.draft, c.maybe = "", nil
	c.loggedIn = unknown
	if r, ok := c.ask(ctx, http.MethodPost, "/api/login", map[string]string{"name": user, "password": password}); ok {
		if r.Status != http.StatusOK {
			c.t.Errorf("client %d: login: %d %s", c.n, r.Status, r.Body)
			return
		}
		c.loggedIn = in
		c.l.logins.Add(1)
	}
}

func (c *client) me(ctx context.Context) {
	if r, ok := c.ask(ctx, http.MethodGet, "/api/me", nil); ok && (r.Status != http.StatusOK || !strings.Contains(string(r.Body), user)) {
		c.t.Errorf("client %d: me: %d %s", c.n, r.Status, r.Body)
	}
}

// logout keeps the cookie, to see whether it stays worthless.
func (c *client) logout(ctx context.Context) {
	stolen := c.web.At(c.h.front.URL)
	if _, ok := c.ask(ctx, http.MethodPost, "/api/logout", nil); ok {
		c.loggedIn = out
		c.l.logout(stolen)
	} else {
		c.loggedIn = unknown
		stolen.Close()
	}
}

func (c *client) saveDraft(ctx context.Context) {
	text := c.next("draft")
	if r, ok := c.ask(ctx, http.MethodPut, "/api/draft", map[string]string{"text": text}); ok && r.Status == http.StatusNoContent {
		c.draft = text
		c.l.drafts.Add(1)
		return
	}
	c.maybe = append(c.maybe, text)
}

// readDraft expects the last draft that was acknowledged. While Redis is away
// an instance knows what it has seen itself: if the client was sent to another
// one meanwhile, that one may still show an older draft. When Redis is back all
// must agree.
func (c *client) readDraft(ctx context.Context) {
	before := c.h.redisFaults.Load()
	r, ok := c.ask(ctx, http.MethodGet, "/api/draft", nil)
	if !ok || r.Status != http.StatusOK {
		return
	}
	if after := c.h.redisFaults.Load(); after != before || after%2 == 1 {
		return
	}
	var d struct{ Text string }
	if err := json.Unmarshal(r.Body, &d); err != nil || d.Text != c.draft && !slices.Contains(c.maybe, d.Text) {
		c.t.Errorf("client %d: the draft is %q, want %q: an acknowledged write to the session is lost", c.n, d.Text, c.draft)
	}
}

func (c *client) next(kind string) string {
	c.seq++
	return fmt.Sprintf("%s-%d-%d", kind, c.n, c.seq)
}

func (c *client) addPatient(ctx context.Context) {
	email := c.next("patient") + "@example.com"
	r, ok := c.ask(ctx, http.MethodPost, "/api/patients", map[string]string{"name": "P", "email": email, "born": "1980-01-01"})
	if !ok {
		return
	}
	var p struct{ ID int64 }
	if err := json.Unmarshal(r.Body, &p); err != nil || r.Status != http.StatusCreated {
		c.t.Errorf("client %d: add %s: %d %s", c.n, email, r.Status, r.Body)
		return
	}
	c.patient = p.ID
	c.l.patient(email)
}

func (c *client) book(ctx context.Context) {
	if c.patient == 0 {
		return
	}
	b := booking{
		Doctor:   []string{"Dr. Alvarez", "Dr. Bento"}[c.rng.IntN(2)],
		StartsAt: time.Date(2031, 1, 1+c.rng.IntN(300), 8+c.rng.IntN(8), 30*c.rng.IntN(2), 0, 0, time.UTC),
		Patient:  c.patient,
	}
	r, ok := c.ask(ctx, http.MethodPost, "/api/appointments", b)
	switch {
	case !ok:
	case r.Status == http.StatusCreated:
		if !c.l.book(b) {
			c.t.Errorf("client %d: %+v was acknowledged twice", c.n, b)
		}
	case r.Status != http.StatusConflict:
		c.t.Errorf("client %d: book: %d %s", c.n, r.Status, r.Body)
	}
}

func (c *client) importFile(ctx context.Context) {
	name := c.next("import")
	var file strings.Builder
	file.WriteString("name,email,born\n")
	for i := range importSize {
		fmt.Fprintf(&file, "I,%s-%d@example.com,1980-01-01\n", name, i)
	}
	r, ok := c.ask(ctx, http.MethodPost, "/api/patients/import", strings.NewReader(file.String()))
	if ok && r.Status != http.StatusOK {
		// "They exist already" would mean that it was done twice, and that only the
		// constraint has kept the second from being stored.
		c.t.Errorf("client %d: %s: %d %s", c.n, name, r.Status, r.Body)
	}
	// The answer is a stream, whose last line has the outcome.
	c.l.imported(name, ok && strings.Contains(string(r.Body), fmt.Sprintf(`{"imported":%d}`, importSize)))
}
