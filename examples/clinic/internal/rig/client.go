package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"time"
)

// A Client is somebody with a browser's memory for cookies.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client that talks to a base URL.
func NewClient(base string) *Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		panic(err) // it has no way to fail
	}
	return &Client{base: base, http: &http.Client{Jar: jar, Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: 30 * time.Second}}
}

// At returns the same client, cookies included, talking to another URL.
func (c *Client) At(base string) *Client {
	other := NewClient(base)
	from, err1 := url.Parse(c.base)
	to, err2 := url.Parse(base)
	if err1 == nil && err2 == nil {
		other.http.Jar.SetCookies(to, c.http.Jar.Cookies(from))
	}
	return other
}

// A Reply is an answer, its body read.
type Reply struct {
	Status int
	Body   []byte
}

// Do sends a request. A body that is not nil is sent as JSON, or as it is if it
// is an io.Reader. The error is one of the connection only.
func (c *Client) Do(ctx context.Context, method, path string, body any) (Reply, error) {
	var send io.Reader = http.NoBody
	switch body := body.(type) {
	case nil:
	case io.Reader:
		send = body
	default:
		data, err := json.Marshal(body)
		if err != nil {
			return Reply{}, err
		}
		send = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, send)
	if err != nil {
		return Reply{}, err
	}
	req.GetBody = nil // a request that cannot be sent again by itself, as most are
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{}, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	return Reply{resp.StatusCode, data}, err
}

// Stream sends a body and passes each line of the answer to line.
func (c *Client) Stream(ctx context.Context, path string, body io.Reader, line func(map[string]any)) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, body)
	if err != nil {
		return 0, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	for d := json.NewDecoder(resp.Body); ; {
		var v map[string]any
		if err := d.Decode(&v); err == io.EOF {
			return resp.StatusCode, nil
		} else if err != nil {
			return resp.StatusCode, err
		}
		line(v)
	}
}

// Login logs in.
func (c *Client) Login(ctx context.Context, name, password string) error {
	return c.Expect(ctx, http.StatusOK, http.MethodPost, "/api/login", map[string]string{"name": name, "password": password}, nil)
}

// Expect sends a request and makes any status but the wanted one an error. The
// answer is decoded into v, unless that is nil.
func (c *Client) Expect(ctx context.Context, status int, method, path string, body, v any) error {
	r, err := c.Do(ctx, method, path, body)
	switch {
	case err != nil:
		return err
	case r.Status != status:
		return fmt.Errorf("%s %s: status %d, want %d: %s", method, path, r.Status, status, bytes.TrimSpace(r.Body))
	case v == nil:
		return nil
	default:
		return json.Unmarshal(r.Body, v)
	}
}

// Close ends the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }
