package pgpool

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A scripted connection gives its input in pieces of the given sizes.
type scripted struct {
	net.Conn

	in    []byte
	sizes []byte
	at    int
	out   bytes.Buffer
}

func (s *scripted) Read(p []byte) (int, error) {
	if len(s.in) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(s.sizes) > 0 {
		n = int(s.sizes[s.at%len(s.sizes)])%64 + 1
		s.at++
	}
	n = copy(p[:min(n, len(p))], s.in)
	s.in = s.in[n:]
	return n, nil
}

func (s *scripted) Write(p []byte) (int, error) { return s.out.Write(p) }

// encode returns the bytes of messages.
func encode(tb testing.TB, messages ...pgproto3.BackendMessage) []byte {
	tb.Helper()
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			tb.Fatal(err)
		}
	}
	return b
}

// FuzzPrefixFilter cuts the server's stream into arbitrary pieces: pgx must see
// exactly what is not the reply to the prefix.
func FuzzPrefixFilter(f *testing.F) {
	for _, sizes := range [][]byte{{}, {0}, {63}, {4, 1}, {5, 0, 2}, {7, 63, 1}} {
		f.Add(sizes, uint8(16), false)
		f.Add(sizes, uint8(200), true)
	}
	f.Fuzz(func(t *testing.T, sizes []byte, room uint8, fails bool) {
		ours := encode(t, &pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.CommandComplete{CommandTag: []byte("BEGIN")},
			&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}, &pgproto3.DataRow{Values: [][]byte{[]byte("4711"), []byte("epoch")}})
		notice := encode(t, &pgproto3.NoticeResponse{Severity: "NOTICE", Message: "between"})
		done := encode(t, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
		failure := encode(t, &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42P01", Message: "no"})
		theirs := encode(t, &pgproto3.BindComplete{}, &pgproto3.DataRow{Values: [][]byte{bytes.Repeat([]byte("x"), 300)}},
			&pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'T'})
		ready := encode(t, &pgproto3.ReadyForQuery{TxStatus: 'E'})

		conn := &scripted{sizes: sizes}
		var want []byte
		if fails {
			conn.in = bytes.Join([][]byte{ours, notice, failure, ready}, nil)
			want = bytes.Join([][]byte{notice, failure, ready}, nil)
		} else {
			conn.in = bytes.Join([][]byte{ours, notice, done, theirs}, nil)
			want = bytes.Join([][]byte{notice, theirs}, nil)
		}
		w := &wire{Conn: conn, ready: true}
		w.prefix.wire = w
		w.prefix.add(stmt{sql: "begin", name: "b"})
		w.prefix.add(stmt{sql: "select pg_current_xact_id()", want: true})
		if n, err := w.Write([]byte{'S', 0, 0, 0, 4}); n != 5 || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
		var got []byte
		buf := make([]byte, int(room)+1)
		for len(got) < len(want) {
			n, err := w.Read(buf)
			if err != nil {
				t.Fatalf("Read after %d of %d bytes: %v", len(got), len(want), err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if answer := w.prefix.row(); len(answer) != 2 || answer[0] != "4711" {
			t.Errorf("answer %q", answer)
		}
		if w.prefix.filtering.Load() && len(w.prefix.out)+len(w.prefix.in) == 0 {
			t.Error("the filter stays on")
		}
	})
}

// A failed prefix in front of a simple query leaves the server waiting for a
// Sync, which the query does not have.
func TestPrefixSendsTheMissingSync(t *testing.T) {
	t.Parallel()
	conn := &scripted{in: encode(t, &pgproto3.ErrorResponse{Code: "26000"})}
	w := &wire{Conn: conn, ready: true}
	w.prefix.wire = w
	w.prefix.prepared = []string{"b"}
	w.prefix.add(stmt{sql: "begin", name: "b"})
	if _, err := w.Write([]byte{'Q', 0, 0, 0, 5, 0}); err != nil {
		t.Fatal(err)
	}
	conn.out.Reset()
	if _, err := w.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if got := conn.out.Bytes(); !bytes.Equal(got, []byte{'S', 0, 0, 0, 4}) {
		t.Errorf("sent %q, want a Sync", got)
	}
	if len(w.prefix.prepared) != 0 {
		t.Error("a name that the server does not know is still taken for prepared")
	}
}

// The count of what was sent decides whether a write is repeated.
func TestWireCountsExecutions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		msg  pgproto3.FrontendMessage
		runs uint64
	}{
		"parse":     {&pgproto3.Parse{Query: "Execute"}, 0},
		"bind":      {&pgproto3.Bind{}, 0},
		"sync":      {&pgproto3.Sync{}, 0},
		"execute":   {&pgproto3.Execute{}, 1},
		"query":     {&pgproto3.Query{String: "select 1"}, 1},
		"function":  {&pgproto3.FunctionCall{}, 1},
		"copy data": {&pgproto3.CopyData{Data: []byte("EQF")}, 0},
	} {
		w := &wire{Conn: &scripted{}, ready: true}
		w.prefix.wire = w
		lead := pgproto3.Parse{Query: "E"}
		b, _ := lead.Encode(nil)
		b, err := c.msg.Encode(b)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if got := w.runs.Load(); got != c.runs {
			t.Errorf("%s counts %d, want %d", name, got, c.runs)
		}
	}
}
