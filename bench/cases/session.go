package cases

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net"
	"os"
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
				"are the server's. The load comes from the same machine: 32 connections of a client of our own that does nothing else than to send bytes made " +
				"before and to check status, cookie and body; what it costs a request is a column, and no library can make that less.",
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
		Counters: s.siteCounters,
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

// siteCounters are those of Redis, and the processor time of this process, which
// is the load's.
func (s *Servers) siteCounters() map[string]float64 {
	counters := s.redisCounters()
	if cpu, err := processCPU(os.Getpid()); err == nil {
		counters["load's CPU, µs"] = float64(cpu.Microseconds())
	}
	return counters
}

// browser is the load: one keep-alive connection with a cookie. It does as
// little as a client can, since it shares the machine with the server: a request
// is made once and sent as often as it stays the same, and of the answer it
// reads the status, Set-Cookie, Content-Length and the body.
type browser struct {
	conn   net.Conn
	r      *bufio.Reader
	cookie string
	query  string
	user   string
	last   string // value written
	body   []byte
	sent   struct {
		path, cookie string // of the request
		request      []byte
	}
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

// request returns what get sends.
func (b *browser) request(path string) []byte {
	if b.sent.path != path || b.sent.cookie != b.cookie || b.sent.request == nil {
		b.sent.path, b.sent.cookie = path, b.cookie
		b.sent.request = append(b.sent.request[:0], "GET "+path+" HTTP/1.1\r\nHost: bench\r\n"...)
		if b.cookie != "" {
			b.sent.request = append(b.sent.request, "Cookie: "+b.cookie+"\r\n"...)
		}
		b.sent.request = append(b.sent.request, "\r\n"...)
	}
	return b.sent.request
}

// get returns the page, which is valid until the next call.
func (b *browser) get(path string) ([]byte, error) {
	if _, err := b.conn.Write(b.request(path)); err != nil {
		return nil, err
	}
	status, err := b.r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	ok := bytes.HasPrefix(status, []byte("HTTP/1.1 200"))
	length := 0
	for {
		line, err := b.r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			break
		}
		if v, found := header(line, "Content-Length:"); found {
			if length, err = strconv.Atoi(string(v)); err != nil {
				return nil, err
			}
		} else if v, found := header(line, "Set-Cookie:"); found {
			v, _, _ = bytes.Cut(v, []byte(";"))
			b.cookie = string(v)
		}
	}
	b.body = slices.Grow(b.body[:0], length)[:length]
	if _, err := io.ReadFull(b.r, b.body); err != nil {
		return nil, err
	}
	if !ok {
		return nil, fmt.Errorf("%w: %s: status not 200: %s", errWrong, path, b.body)
	}
	return b.body, nil
}

// header is the value of a line, if it begins with the name.
func header(line []byte, name string) ([]byte, bool) {
	if len(line) < len(name) || line[0]|0x20 != name[0]|0x20 || !strings.EqualFold(string(line[:len(name)]), name) {
		return nil, false
	}
	return bytes.TrimSpace(line[len(name):]), true
}
