package cases

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pedro-go/pedro/bench/harness"
)

const sessionCallers = 32

// Session is the cost of sessions over HTTP.
func (s *Servers) Session() []harness.Case {
	params := []harness.Params{{Callers: sessionCallers}}
	return []harness.Case{
		{
			Name: "session/anonymous",
			About: "A page that uses no session, over keep-alive connections. Each server is a process of its own; allocations, bytes and processor time " +
				"are the server's. The load comes from the same machine.",
			Params: params,
			Stacks: s.sites([]string{"plain", "raw", "gorilla", "scs", "pedro", "pedro-local", "express"}, func(c *browser, _ int) error {
				return c.expect("/anon", "hello")
			}, false),
		},
		{
			Name:   "session/read",
			About:  "A page that shows who is logged in: each caller has a session of its own, which holds four short strings.",
			Params: params,
			Stacks: s.sites([]string{"raw", "plain", "gorilla", "scs", "pedro", "pedro-local", "express", "express2"}, func(c *browser, _ int) error {
				return c.expect("/me"+c.query, c.user)
			}, true),
		},
		{
			Name:   "session/write",
			About:  "A page that changes a value in the session and shows the one before. raw is a GET and a SET.",
			Params: params,
			Stacks: s.sites([]string{"raw", "gorilla", "scs", "pedro", "pedro-local", "express"}, func(c *browser, i int) error {
				value := strconv.Itoa(i) + c.user
				err := c.expect("/swap/"+value, c.last)
				c.last = value
				return err
			}, true),
		},
	}
}

// siteNames are the rows of the report.
var siteNames = map[string]string{
	"plain":       "net/http",
	"raw":         "net/http + one raw GET",
	"gorilla":     "gorilla/sessions + redisstore",
	"scs":         "scs + goredisstore",
	"pedro":       "pedro",
	"pedro-local": "pedro, LocalCache",
	"express":     "express-session + connect-redis",
	"express2":    "Express, two processes",
}

func (s *Servers) sites(names []string, visit func(c *browser, i int) error, login bool) []harness.Stack {
	var stacks []harness.Stack
	for _, name := range names {
		stacks = append(stacks, harness.Stack{
			Name: siteNames[name], Ours: strings.HasPrefix(name, "pedro"),
			Open: func(ctx context.Context, p harness.Params) (*harness.Running, error) {
				return s.openSite(ctx, name, p, visit, login)
			},
		})
	}
	return stacks
}

func startSite(ctx context.Context, name, redisURL string) (*child, error) {
	switch name {
	case "express":
		return startNode(ctx, "express.js", "REDIS_URL="+redisURL)
	case "express2":
		return startNode(ctx, "express.js", "REDIS_URL="+redisURL, "WORKERS=2")
	default:
		return startRole(ctx, "site", "REDIS_URL="+redisURL, "BENCH_SITE="+name)
	}
}

func (s *Servers) openSite(ctx context.Context, name string, p harness.Params, visit func(c *browser, i int) error, login bool) (*harness.Running, error) {
	url, err := s.RedisURL(ctx, 0)
	if err != nil {
		return nil, err
	}
	c, err := startSite(ctx, name, url)
	if err != nil {
		return nil, err
	}
	var browsers []*browser
	end := func() error {
		for _, b := range browsers {
			_ = b.conn.Close()
		}
		c.close()
		return nil
	}
	for i := range p.Callers + 1 { // the last asks what the server has used
		b, err := dialBrowser(c.ready)
		if err != nil {
			_ = end()
			return nil, err
		}
		browsers = append(browsers, b)
		b.user = "user-" + strconv.Itoa(i)
		if login {
			if err := b.expect("/login/"+b.user+"?size="+strconv.Itoa(p.N), b.user); err != nil {
				_ = end()
				return nil, err
			}
		}
		if name == "plain" {
			b.query = "?user=" + b.user
		}
	}
	return &harness.Running{
		Do:       func(_ context.Context, caller, i int) error { return visit(browsers[caller], i) },
		Counters: s.redisCounters,
		Usage: func() (harness.Usage, error) {
			used := harness.Usage{Allocs: math.NaN(), Bytes: math.NaN()}
			if !strings.HasPrefix(name, "express") {
				body, err := browsers[p.Callers].get("/usage")
				if err != nil {
					return used, err
				}
				if err := json.Unmarshal(body, &used); err != nil {
					return used, err
				}
			}
			used.CPU, err = familyCPU(c.cmd.Process.Pid)
			return used, err
		},
		Close: end,
	}, nil
}

// browser is one keep-alive connection with a cookie, and does as little as a
// client can, since it shares the machine with the server.
type browser struct {
	conn   net.Conn
	r      *bufio.Reader
	cookie string
	query  string
	user   string
	last   string // value written
	buf    []byte
}

func dialBrowser(addr string) (*browser, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	return &browser{conn: conn, r: bufio.NewReader(conn)}, nil
}

// expect gets a page and checks what it says.
func (b *browser) expect(path, want string) error {
	body, err := b.get(path)
	if err != nil {
		return err
	}
	if len(body) != len(want)+2 || string(body[1:len(body)-1]) != want {
		return fmt.Errorf("%w: %s says %q, want <%s>", errWrong, path, body, want)
	}
	return nil
}

// get returns the page, which is valid until the next call.
func (b *browser) get(path string) ([]byte, error) {
	req := append(b.buf[:0], "GET "...)
	req = append(req, path...)
	req = append(req, " HTTP/1.1\r\nHost: bench\r\n"...)
	if b.cookie != "" {
		req = append(req, "Cookie: "...)
		req = append(req, b.cookie...)
		req = append(req, "\r\n"...)
	}
	req = append(req, "\r\n"...)
	b.buf = req
	if _, err := b.conn.Write(req); err != nil {
		return nil, err
	}
	status, err := b.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := strings.HasPrefix(string(status), "HTTP/1.1 200")
	length := 0
	for {
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		switch line[0] | 0x20 {
		case 'c':
			if v, found := hasPrefixFold(string(line), "Content-Length:"); found {
				if length, err = strconv.Atoi(v); err != nil {
					return nil, err
				}
			}
		case 's':
			if v, found := hasPrefixFold(string(line), "Set-Cookie:"); found {
				b.cookie, _, _ = strings.Cut(v, ";")
			}
		}
	}
	b.buf = slices.Grow(b.buf[:0], length)[:length]
	if _, err := io.ReadFull(b.r, b.buf); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s: status not 200: %s", errWrong, path, b.buf)
	}
	return b.buf, nil
}
