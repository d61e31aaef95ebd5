package cases

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/alexedwards/scs/goredisstore"
	"github.com/alexedwards/scs/v2"
	"github.com/rbcervilla/redisstore/v9"
	"github.com/redis/go-redis/v9"

	"github.com/pedro-go/pedro/bench/harness"
	"github.com/pedro-go/pedro/session"
)

// site is the same small site on any session library. A handler of it answers
// with what was in the session.
type site struct {
	login func(w http.ResponseWriter, r *http.Request, user string) error
	me    func(w http.ResponseWriter, r *http.Request) (user string, err error)
	swap  func(w http.ResponseWriter, r *http.Request, value string) (before string, err error)
	wrap  func(http.Handler) http.Handler
}

var sites = map[string]func(ctx context.Context, client *redis.Client) (site, error){
	"plain": func(context.Context, *redis.Client) (site, error) {
		return site{
			login: func(http.ResponseWriter, *http.Request, string) error { return nil },
			me:    func(_ http.ResponseWriter, r *http.Request) (string, error) { return r.URL.Query().Get("user"), nil },
			swap:  func(http.ResponseWriter, *http.Request, string) (string, error) { return "", errors.ErrUnsupported },
		}, nil
	},
	"raw":     func(_ context.Context, client *redis.Client) (site, error) { return rawSite(client), nil },
	"gorilla": gorillaSite,
	"scs":     func(_ context.Context, client *redis.Client) (site, error) { return scsSite(client), nil },
	"pedro": func(ctx context.Context, client *redis.Client) (site, error) {
		return pedroSite(ctx, client, session.Config{})
	},
	"pedro-local": func(ctx context.Context, client *redis.Client) (site, error) {
		return pedroSite(ctx, client, session.Config{LocalCache: 2 * time.Second})
	},
}

// profile is what a login puts into the session beside the user: the usual, in
// strings, which all libraries store without more ado.
var profile = map[string]string{
	"name":  "Dr. Ada Lovelace-Byron",
	"roles": "doctor,reception,billing",
	"csrf":  "5f0c1b1e7a7d4e0c9a3f8d2b6c4e1a90",
}

// contents is what a login puts into the session: profile, and with ?size=n a
// string of n bytes more.
func contents(r *http.Request) map[string]string {
	n, err := strconv.Atoi(r.URL.Query().Get("size"))
	if err != nil {
		return profile
	}
	large := maps.Clone(profile)
	large["large"] = strings.Repeat("0123456789abcdef", n/16)
	return large
}

const benchSecret = "a secret of the benchmarks, 0123456789abcdef"

// rawSite is the least that a login can cost: a GET of the cookie's value.
func rawSite(client *redis.Client) site {
	key := func(r *http.Request, of string) (string, error) {
		c, err := r.Cookie("raw")
		if err != nil {
			return "", err
		}
		return of + c.Value, nil
	}
	return site{
		login: func(w http.ResponseWriter, r *http.Request, user string) error {
			id := rand.Text()
			http.SetCookie(w, &http.Cookie{Name: "raw", Value: id})
			return client.Set(r.Context(), "user:"+id, user, time.Hour).Err()
		},
		me: func(_ http.ResponseWriter, r *http.Request) (string, error) {
			k, err := key(r, "user:")
			if err != nil {
				return "", err
			}
			return client.Get(r.Context(), k).Result()
		},
		swap: func(_ http.ResponseWriter, r *http.Request, value string) (string, error) {
			k, err := key(r, "value:")
			if err != nil {
				return "", err
			}
			before, err := client.Get(r.Context(), k).Result()
			if err != nil && !errors.Is(err, redis.Nil) {
				return "", err
			}
			return before, client.Set(r.Context(), k, value, time.Hour).Err()
		},
	}
}

func gorillaSite(ctx context.Context, client *redis.Client) (site, error) {
	store, err := redisstore.NewRedisStore(ctx, client)
	if err != nil {
		return site{}, err
	}
	const name = "gorilla"
	set := func(w http.ResponseWriter, r *http.Request, key, value string) (string, error) {
		s, err := store.Get(r, name)
		if err != nil {
			return "", err
		}
		before, _ := s.Values[key].(string)
		s.Values[key] = value
		return before, s.Save(r, w)
	}
	return site{
		login: func(w http.ResponseWriter, r *http.Request, user string) error {
			s, err := store.Get(r, name)
			if err != nil {
				return err
			}
			s.Values["user"] = user
			for key, value := range contents(r) {
				s.Values[key] = value
			}
			return s.Save(r, w)
		},
		me: func(_ http.ResponseWriter, r *http.Request) (string, error) {
			s, err := store.Get(r, name)
			if err != nil {
				return "", err
			}
			user, _ := s.Values["user"].(string)
			return user, nil
		},
		swap: func(w http.ResponseWriter, r *http.Request, value string) (string, error) {
			return set(w, r, "value", value)
		},
	}, nil
}

func scsSite(client *redis.Client) site {
	m := scs.New()
	m.Store = goredisstore.New(client)
	return site{
		login: func(_ http.ResponseWriter, r *http.Request, user string) error {
			if err := m.RenewToken(r.Context()); err != nil {
				return err
			}
			m.Put(r.Context(), "user", user)
			for key, value := range contents(r) {
				m.Put(r.Context(), key, value)
			}
			return nil
		},
		me: func(_ http.ResponseWriter, r *http.Request) (string, error) {
			return m.GetString(r.Context(), "user"), nil
		},
		swap: func(_ http.ResponseWriter, r *http.Request, value string) (string, error) {
			before := m.GetString(r.Context(), "value")
			m.Put(r.Context(), "value", value)
			return before, nil
		},
		wrap: m.LoadAndSave,
	}
}

func pedroSite(ctx context.Context, client *redis.Client, cfg session.Config) (site, error) {
	cfg.Secrets = []string{benchSecret}
	m, err := session.New(client, cfg, session.WithLogger(quiet))
	if err != nil {
		return site{}, err
	}
	return site{
		login: func(_ http.ResponseWriter, r *http.Request, user string) error {
			data := make(map[string]any, len(profile)+1)
			for key, value := range contents(r) {
				data[key] = value
			}
			return session.SetAuthenticated(r.Context(), user, data)
		},
		me: func(_ http.ResponseWriter, r *http.Request) (string, error) {
			return session.From(r.Context()).UserID(), nil
		},
		swap: func(_ http.ResponseWriter, r *http.Request, value string) (string, error) {
			s := session.From(r.Context())
			before, _ := session.Get[string](s, "value")
			return before, session.Set(s, "value", value)
		},
		wrap: session.Middleware(m),
	}, m.Start(ctx)
}

// siteRole serves a site until standard input ends.
func siteRole() error {
	client, err := newGoRedis(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	defer client.Close()
	s, err := sites[os.Getenv("BENCH_SITE")](context.Background(), client)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	return readyUntilEnd(l.Addr().String())
}

func (s site) handler() http.Handler {
	answer := func(w http.ResponseWriter, text string, err error) {
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_, _ = w.Write([]byte("<" + text + ">"))
	}
	app := http.NewServeMux()
	app.HandleFunc("GET /anon", func(w http.ResponseWriter, _ *http.Request) { answer(w, "hello", nil) })
	app.HandleFunc("GET /login/{user}", func(w http.ResponseWriter, r *http.Request) {
		user := r.PathValue("user")
		answer(w, user, s.login(w, r, user))
	})
	app.HandleFunc("GET /me", func(w http.ResponseWriter, r *http.Request) {
		user, err := s.me(w, r)
		answer(w, user, err)
	})
	app.HandleFunc("GET /swap/{value}", func(w http.ResponseWriter, r *http.Request) {
		before, err := s.swap(w, r, r.PathValue("value"))
		answer(w, before, err)
	})
	var h http.Handler = app
	if s.wrap != nil {
		h = s.wrap(app)
	}
	outer := http.NewServeMux()
	outer.Handle("/", h)
	outer.HandleFunc("GET /usage", func(w http.ResponseWriter, _ *http.Request) {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(harness.Usage{Allocs: float64(m.Mallocs), Bytes: float64(m.TotalAlloc)})
	})
	return outer
}
