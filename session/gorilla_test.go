package session_test

import (
	"encoding/gob"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/sessions"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/session"
)

type flashMessage struct {
	Type    int
	Message string
}

func init() { gob.Register(flashMessage{}) } //nolint:gochecknoinits // as gorilla's own tests do

// request makes a request with the cookies of a response.
func request(t *testing.T, after *httptest.ResponseRecorder) *http.Request {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://localhost:8080/", nil)
	if after != nil {
		for _, c := range after.Result().Cookies() {
			r.AddCookie(c)
		}
	}
	return r
}

// TestGorillaFlashes is gorilla/sessions' own TestFlashes, on our store.
func TestGorillaFlashes(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]*session.Manager{"Redis": fresh(t, session.Config{}), "Memory": open(t, nil, session.Config{})} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store := m.GorillaStore()
			// Round 1
			req, rsp := request(t, nil), httptest.NewRecorder()
			s, err := store.Get(req, "session-key")
			if err != nil {
				t.Fatal(err)
			}
			if flashes := s.Flashes(); len(flashes) != 0 {
				t.Errorf("got %v, want no flashes", flashes)
			}
			s.AddFlash("foo")
			s.AddFlash("bar")
			s.AddFlash("baz", "custom_key")
			if err := sessions.Save(req, rsp); err != nil {
				t.Fatal(err)
			}
			if n := len(rsp.Header().Values("Set-Cookie")); n != 1 {
				t.Fatalf("got %d cookies, want 1", n)
			}
			if _, err := store.Get(req, "session:key"); err == nil || err.Error() != "sessions: invalid character in cookie name: session:key" {
				t.Errorf("got %v, want an error about the name", err)
			}
			// Round 2
			req2, rsp2 := request(t, rsp), httptest.NewRecorder()
			if s, err = store.Get(req2, "session-key"); err != nil {
				t.Fatal(err)
			}
			if flashes := s.Flashes(); fmt.Sprint(flashes) != "[foo bar]" {
				t.Errorf("got %v, want [foo bar]", flashes)
			}
			if flashes := s.Flashes(); len(flashes) != 0 {
				t.Errorf("got %v, want no flashes the second time", flashes)
			}
			if flashes := s.Flashes("custom_key"); fmt.Sprint(flashes) != "[baz]" {
				t.Errorf("got %v, want [baz]", flashes)
			}
			s.Options.MaxAge = -1
			if err := sessions.Save(req2, rsp2); err != nil {
				t.Fatal(err)
			}
			if c := rsp2.Header().Get("Set-Cookie"); !strings.Contains(c, "Max-Age=0") {
				t.Errorf("got %q, want the cookie cleared", c)
			}
			// Round 3: values of a type of the program's own
			req, rsp = request(t, nil), httptest.NewRecorder()
			if s, err = store.Get(req, "session-key"); err != nil {
				t.Fatal(err)
			}
			s.AddFlash(flashMessage{42, "foo"})
			s.Values[7] = map[string]int{"not": 1}["x"]
			if err := sessions.Save(req, rsp); err != nil {
				t.Fatal(err)
			}
			// Round 4
			if s, err = store.Get(request(t, rsp), "session-key"); err != nil {
				t.Fatal(err)
			}
			flashes := s.Flashes()
			if len(flashes) != 1 || flashes[0] != (flashMessage{42, "foo"}) {
				t.Errorf("got %v, want the message", flashes)
			}
			if v, ok := s.Values[7].(int); !ok || v != 0 {
				t.Errorf("got %v, want the int 0 under the int 7", s.Values[7])
			}
			// The session that was ended stays ended.
			if s, err = store.New(request(t, rsp2), "session-key"); err != nil || !s.IsNew {
				t.Errorf("got %v, %v, want a new session", s.IsNew, err)
			}
		})
	}
}

// TestGorillaStoreGuards: what redisstore gets wrong is right here.
func TestGorillaStoreGuards(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	store := m.GorillaStore()
	// A chosen ID is not adopted.
	req, rsp := request(t, nil), httptest.NewRecorder()
	req.AddCookie(&http.Cookie{Name: "app", Value: "ATTACKER-CHOSEN"})
	s, _ := store.Get(req, "app")
	s.Values["user"] = "ada"
	if err := s.Save(req, rsp); err != nil {
		t.Fatal(err)
	}
	if c := rsp.Header().Get("Set-Cookie"); strings.Contains(c, "ATTACKER") || !strings.Contains(c, "HttpOnly") {
		t.Errorf("got %q, want an ID of our own, HttpOnly", c)
	}
	// Parallel requests are merged.
	var wg sync.WaitGroup
	for i := range 32 {
		req := request(t, rsp)
		s, err := store.Get(req, "app")
		if err != nil {
			t.Fatal(err)
		}
		s.Values[fmt.Sprint("k", i)] = i
		wg.Go(func() {
			if err := s.Save(req, httptest.NewRecorder()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	late := request(t, rsp)
	lateSession, _ := store.Get(late, "app")
	out := request(t, rsp)
	s, _ = store.Get(out, "app")
	for i := range 32 {
		if s.Values[fmt.Sprint("k", i)] != i {
			t.Errorf("k%d = %v, want %d", i, s.Values[fmt.Sprint("k", i)], i)
		}
	}
	// A logout is final.
	s.Options.MaxAge = -1
	if err := s.Save(out, httptest.NewRecorder()); err != nil {
		t.Fatal(err)
	}
	lateSession.Values["late"] = true
	if err := lateSession.Save(late, httptest.NewRecorder()); err == nil {
		t.Error("a late save of an ended session said nothing")
	}
	if s, _ := store.New(request(t, rsp), "app"); !s.IsNew {
		t.Error("the session was revived")
	}
}

// TestGorillaSharesWithMiddleware: the manager's own name is the same session.
func TestGorillaSharesWithMiddleware(t *testing.T) {
	t.Parallel()
	m := fresh(t, session.Config{})
	store := m.GorillaStore()
	routes := appRoutes()
	routes["/gorilla"] = func(w http.ResponseWriter, r *http.Request) {
		s, err := store.Get(r, session.DefaultName)
		if err != nil {
			t.Error(err)
		}
		s.Values["old"] = "code"
		if s.Values["cart"] != "apple" {
			t.Errorf("cart = %v, want apple", s.Values["cart"])
		}
		if err := s.Save(r, w); err != nil {
			t.Error(err)
		}
	}
	b := newBrowser(t, serve(t, m, routes))
	b.want("/set?k=cart&v=apple", 200, "")
	b.want("/login?u=ada", 200, "")
	b.want("/gorilla", 200, "")
	b.want("/get?k=old", 200, "code")
	b.want("/me", 200, "ada")
}

// TestAnyGorillaStore: sessions in stores of others, with their holes closed.
func TestAnyGorillaStore(t *testing.T) {
	t.Parallel()
	key := []byte("0123456789abcdef0123456789abcdef")
	files := sessions.NewFilesystemStore(t.TempDir(), key)
	files.MaxLength(1 << 20)
	client := dial(t, rediscachetest.Start(t))
	rs, err := redisstore.NewRedisStore(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	for name, store := range map[string]sessions.Store{
		"Redisstore": rs,
		"Filesystem": files,
		"Cookie":     sessions.NewCookieStore(key, key),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := open(t, nil, session.Config{}, session.WithGorillaStore(store))
			b := newBrowser(t, app(t, m))
			b.want("/anonymous", 200, "hello")
			b.want("/set?k=a&v=1", 200, "")
			b.want("/get?k=a", 200, "1")
			b.want("/set?k=a&v=2", 200, "")
			b.want("/get?k=a", 200, "2")
			planted := b.cookies()
			b.want("/login?u=ada", 200, "")
			b.want("/me", 200, "ada")
			b.want("/get?k=a", 200, "2")
			if code, _, _ := raw(t, b.base+"/me", planted); code != 401 {
				t.Errorf("the ID from before the login got %d, want 401", code)
			}
			if list, err := m.Sessions(t.Context(), "ada"); err != nil || len(list) != 1 {
				t.Errorf("Sessions = %d, %v, want 1", len(list), err)
			}
			var wg sync.WaitGroup
			for i := range 16 {
				wg.Go(func() { b.want(fmt.Sprintf("/set?k=k%d&v=x", i), 200, "") })
			}
			wg.Wait()
			for i := range 16 {
				b.want(fmt.Sprintf("/get?k=k%d", i), 200, "x")
			}
			cookie := b.cookies()
			b.want("/logout", 200, "")
			if code, _, _ := raw(t, b.base+"/me", cookie); code != 401 {
				t.Errorf("after the logout got %d, want 401", code)
			}
			if code, _, header := raw(t, b.base+"/me", "pedro.sid=ATTACKER"); code != 401 || header.Get("Set-Cookie") != "" {
				t.Errorf("a chosen ID got %d, want 401 and no cookie", code)
			}
		})
	}
}

// TestMovingFromRedisstore: clients of plain redisstore keep their logins.
func TestMovingFromRedisstore(t *testing.T) {
	t.Parallel()
	client := dial(t, rediscachetest.Start(t))
	cookie, key := redisstoreSession(t, client)

	m := open(t, client, session.Config{}, session.WithRedisstoreRecords(session.RedisstoreConfig{Name: "app", UserKey: "user"}))
	base := app(t, m)
	next := map[string]bool{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 { // a page with parallel requests
		wg.Go(func() {
			code, who, header := raw(t, base+"/me", cookie)
			mu.Lock()
			defer mu.Unlock()
			if code != 200 || who != "ada" {
				t.Errorf("got %d %q, want ada", code, who)
			}
			next[strings.SplitN(header.Get("Set-Cookie"), ";", 2)[0]] = true
		})
	}
	wg.Wait()
	if len(next) != 1 {
		t.Fatalf("got %d new cookies, want 1", len(next))
	}
	var own string
	for own = range next {
	}
	if _, v, _ := raw(t, base+"/get?k=cart", own); v != "apple" {
		t.Errorf("cart = %q, want apple", v)
	}
	if n := client.Exists(t.Context(), key).Val(); n != 0 {
		t.Error("the old record is still there")
	}
	raw(t, base+"/logout", own)
	if code, _, _ := raw(t, base+"/me", cookie); code != 401 {
		t.Errorf("the old cookie after the logout got %d, want 401", code)
	}
	if code, _, header := raw(t, base+"/me", "app="+strings.Repeat("A", 103)); code != 401 || header.Get("Set-Cookie") != "" {
		t.Errorf("a forged old cookie got %d, want 401 and no cookie", code)
	}
}

// redisstoreSession has plain redisstore make a session, and returns its cookie
// and its key.
func redisstoreSession(t *testing.T, client redis.UniversalClient) (cookie, key string) {
	t.Helper()
	old, err := redisstore.NewRedisStore(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	req, rsp := request(t, nil), httptest.NewRecorder()
	s, err := old.Get(req, "app")
	if err != nil {
		t.Fatal(err)
	}
	s.Values["user"], s.Values["cart"], s.Values["n"] = "ada", "apple", 3
	if err := s.Save(req, rsp); err != nil {
		t.Fatal(err)
	}
	c := rsp.Result().Cookies()[0]
	return c.Name + "=" + c.Value, "session:" + c.Value
}

// A failing store of gorilla's kind fails when it is told to. The manager asks it
// in the background too.
type failing struct {
	mu   sync.Mutex
	m    map[string]map[any]any
	away bool
}

var errStoreAway = errors.New("store is away")

func (f *failing) fail(away bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = away
}

func (f *failing) Get(r *http.Request, name string) (*sessions.Session, error) {
	return f.New(r, name)
}

func (f *failing) New(r *http.Request, name string) (*sessions.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gs := sessions.NewSession(f, name)
	if c, err := r.Cookie(name); err == nil {
		gs.ID = c.Value
		if v, ok := f.m[c.Value]; ok {
			gs.Values = v
		}
	}
	if f.away {
		return gs, errStoreAway
	}
	return gs, nil
}

func (f *failing) Save(_ *http.Request, _ http.ResponseWriter, gs *sessions.Session) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away {
		return errStoreAway
	}
	f.m[gs.ID] = gs.Values
	if gs.Options.MaxAge < 0 {
		delete(f.m, gs.ID)
	}
	return nil
}

// TestGorillaOffTwoLogouts: two requests end one session while the store fails,
// and fail closed.
func TestGorillaOffTwoLogouts(t *testing.T) {
	t.Parallel()
	f := &failing{m: map[string]map[any]any{}}
	m := open(t, nil, session.Config{Fallback: session.FallbackOff}, session.WithGorillaStore(f))
	mw := session.Middleware(m)
	rec := httptest.NewRecorder()
	mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = session.SetAuthenticated(r.Context(), "ada", nil)
	})).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/", http.NoBody))
	req := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	req.AddCookie(rec.Result().Cookies()[0])
	loaded := func(f func(s *session.Session)) {
		mw(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			if s.UserID() != "ada" {
				t.Error("not loaded")
			}
			f(s)
		})).ServeHTTP(httptest.NewRecorder(), req)
	}
	loaded(func(s1 *session.Session) {
		loaded(func(s2 *session.Session) {
			f.fail(true)
			for _, s := range []*session.Session{s1, s2} {
				if err := s.Destroy(); !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("Destroy: %v, want ErrUnavailable", err)
				}
			}
			f.fail(false)
		})
	})
}

// TestGorillaNilOptions: a host may have taken the options away.
func TestGorillaNilOptions(t *testing.T) {
	t.Parallel()
	st := open(t, nil, session.Config{}).GorillaStore()
	r := httptest.NewRequest(http.MethodGet, "/", http.NoBody)
	s, err := st.New(r, "x")
	if err != nil {
		t.Fatal(err)
	}
	s.Values["k"], s.Options = "v", nil
	w := httptest.NewRecorder()
	if err := st.Save(r, w, s); err != nil || w.Header().Get("Set-Cookie") == "" {
		t.Errorf("Save: %v, Set-Cookie %q", err, w.Header().Get("Set-Cookie"))
	}
}
