package pgpool

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Token stands for the last write of somebody, as a position in the server's
// log (LSN). Reads from a replica with this Token see that write. It can be
// kept as text: in a session, a cookie, a message to another service. The zero
// Token stands for no write. An unreadable one counts as zero.
type Token string

// WithToken returns a context that remembers writes, beginning with what t
// stands for: transactions, Exec, CopyFrom, BatchInsert, and queries that do
// not begin with SELECT (a comment in front makes one count as a write), with this context or those made from it. TokenFrom
// tells the latest, and reads by Replica see them all.
//
// A middleware puts the Token of the user's session into the request's context
// and stores the new one at its end; then users read what they wrote, whichever
// replica answers. A write outside of a transaction costs a round trip more
// with such a context; a transaction does not.
func WithToken(ctx context.Context, t Token) context.Context {
	return context.WithValue(ctx, tokenKey{}, &tokenHolder{lsn: parseLSN(string(t))})
}

// TokenFrom returns the Token of the last write with ctx, or "" if ctx does not
// come from WithToken.
func TokenFrom(ctx context.Context) Token {
	h := holderFrom(ctx)
	if h == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lsn == 0 {
		return ""
	}
	return Token(fmt.Sprintf("%X/%X", h.lsn>>32, h.lsn&0xffffffff))
}

type tokenKey struct{}

// A tokenHolder is the memory of a context from WithToken.
type tokenHolder struct {
	mu     sync.Mutex
	lsn    uint64
	pinned bool // a write's position could not be found out: read from the primary
}

func holderFrom(ctx context.Context) *tokenHolder {
	h, _ := ctx.Value(tokenKey{}).(*tokenHolder)
	return h
}

func (h *tokenHolder) note(lsn uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lsn = max(h.lsn, lsn)
	h.pinned = h.pinned || lsn == 0
}

func (h *tokenHolder) wants() (lsn uint64, pinned bool) {
	if h == nil {
		return 0, false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lsn, h.pinned
}

const lsnSQL = "select pg_current_wal_insert_lsn()::text"

// noteWrite remembers a write that has just been made on conn.
func (n *node) noteWrite(ctx context.Context, conn *pgx.Conn) {
	h := holderFrom(ctx)
	if h == nil || !n.primary {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	values, err := askOne(ctx, conn, lsnSQL)
	if err != nil {
		h.note(0)
		return
	}
	h.note(parseLSN(values[0]))
}

// noteLost remembers a commit of which the position went with its reply: that of
// now is behind it.
func (n *node) noteLost(ctx context.Context) {
	h := holderFrom(ctx)
	if h == nil {
		return
	}
	conn, err := n.acquire(Outside(ctx))
	if err != nil {
		h.note(0)
		return
	}
	defer conn.Release()
	n.noteWrite(ctx, conn.Conn())
}

// mayWrite tells queries that are only reads, in all likelihood, from others.
// It only saves noteWrite a round trip, and acquire a look at the socket: nothing
// is repeated because of it, but what is wrongly taken for a read may meet a
// connection that has just died, and fail.
func mayWrite(sql string) bool {
	const read = "select"
	for len(sql) > 0 && (sql[0] == ' ' || sql[0] == '\t' || sql[0] == '\r' || sql[0] == '\n' || sql[0] == '(') {
		sql = sql[1:]
	}
	return len(sql) < len(read) || !strings.EqualFold(sql[:len(read)], read)
}

// parseLSN reads "16/B374D848"; 0 if it is none.
func parseLSN(s string) uint64 {
	var high, low uint32
	if n, err := fmt.Sscanf(s, "%X/%X", &high, &low); n != 2 || err != nil {
		return 0
	}
	return uint64(high)<<32 | uint64(low)
}
