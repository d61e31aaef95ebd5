package telemetry_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/trace"

	"github.com/pedro-go/pedro/rediscache"
	"github.com/pedro-go/pedro/rediscache/rediscachetest"
	"github.com/pedro-go/pedro/telemetry/internal/host"
)

func attributeOf(s trace.ReadOnlySpan, key string) string {
	for _, kv := range s.Attributes() {
		if string(kv.Key) == key {
			return kv.Value.String()
		}
	}
	return ""
}

// await waits for spans: the server's ends after the client has its answer.
func (r *rig) await(t *testing.T, name string) trace.ReadOnlySpan {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); ; {
		for _, s := range r.spans.Ended() {
			if s.Name() == name {
				return s
			}
		}
		if time.Now().After(deadline) {
			var names []string
			for _, s := range r.spans.Ended() {
				names = append(names, s.Name())
			}
			t.Fatalf("got the spans %q, want one called %s", names, name)
		}
	}
}

func TestOneTraceFromRequestToStatement(t *testing.T) {
	t.Parallel()
	r := start(t, host.Config{})
	const parent = "4bf92f3577b34da6a3ce929d0e0e4736"
	r.do(t, http.MethodPost, "/slots/7/book", "traceparent", "00-"+parent+"-00f067aa0ba902b7-01")
	request := r.await(t, "POST /slots/{id}/book")
	if got := request.SpanContext().TraceID().String(); got != parent {
		t.Errorf("the request's trace: got %s, want its caller's, %s", got, parent)
	}
	if got := attributeOf(request, "http.route"); got != "/slots/{id}/book" {
		t.Errorf("http.route: got %q, want /slots/{id}/book", got)
	}
	statement := r.await(t, "UPDATE")
	if statement.SpanContext().TraceID() != request.SpanContext().TraceID() {
		t.Error("the statement is in another trace than its request")
	}
	if got := attributeOf(statement, "db.query.text"); !strings.HasPrefix(got, "update slots set free = free - 1") {
		t.Errorf("db.query.text: got %q, want the statement", got)
	}
}

// TestNoKeysInSpans has a canary in Redis keys and values, an argument and a
// cookie.
func TestNoKeysInSpans(t *testing.T) {
	t.Parallel()
	r := start(t, host.Config{})
	for _, path := range []string{"/slots/73911", "/slots/73911"} {
		r.do(t, http.MethodGet, path)
	}
	r.do(t, http.MethodPost, "/login")
	r.do(t, http.MethodGet, "/visits")
	r.await(t, "GET /visits")
	redis := 0
	for _, s := range r.spans.Ended() {
		if attributeOf(s, "db.system.name") == "redis" {
			redis++
		}
		for _, kv := range append(s.Attributes(), attribute.String("name", s.Name())) {
			if kv.Key == "url.path" {
				continue // the request's own
			}
			if text := kv.Value.String(); strings.Contains(text, "73911") || strings.Contains(text, "session:") {
				t.Errorf("span %s: %s is %q, which holds data", s.Name(), kv.Key, text)
			}
		}
	}
	if redis == 0 {
		t.Error("got no span of a Redis command")
	}
}

func TestRedisErrors(t *testing.T) {
	t.Parallel()
	rd := rediscachetest.StartServer(t)
	r := start(t, host.Config{Redis: rediscache.Config{URL: rd.URL()}})
	client := r.Cache.Redis()
	ctx := t.Context()
	client.Set(ctx, "k", "v", 0)
	if err := client.LPush(ctx, "k", 1).Err(); err == nil {
		t.Fatal("LPUSH on a string: got nil, want an error")
	}
	client.Get(ctx, "nothing")
	if err := rd.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); !errors.Is(client.Get(ctx, "k").Err(), rediscache.ErrUnavailable); {
		if time.Now().After(deadline) {
			t.Fatal("the cache has not noticed that Redis is away")
		}
	}
	var seen []string
	for _, p := range histogram(t, r.collect(t), "db.client.operation.duration") {
		if system, _ := p.Attributes.Value("db.system.name"); system.AsString() == "redis" {
			op, _ := p.Attributes.Value("db.operation.name")
			kind, _ := p.Attributes.Value("error.type")
			seen = append(seen, op.AsString()+" "+kind.AsString())
		}
	}
	for _, want := range []string{"LPUSH WRONGTYPE", "GET ", "GET unavailable", "SET "} {
		if !slices.Contains(seen, want) {
			t.Errorf("got %q, want %q among them", seen, want)
		}
	}
}

func TestFailedRequestIsAnError(t *testing.T) {
	t.Parallel()
	r := start(t, host.Config{})
	r.do(t, http.MethodGet, "/fail")
	if s := r.await(t, "GET /fail"); s.Status().Code != codes.Error {
		t.Errorf("status of the span of a 500: got %v, want an error", s.Status().Code)
	}
}
