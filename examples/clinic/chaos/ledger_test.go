package chaos_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pedro-go/pedro/examples/clinic/internal/rig"
)

// importSize is how many patients a file has.
const importSize = 20

type booking struct {
	Doctor   string    `json:"doctor"`
	StartsAt time.Time `json:"starts_at"`
	Patient  int64     `json:"patient_id"`
}

type slot struct {
	doctor string
	at     time.Time
}

// ledger is what clients were told.
type ledger struct {
	logins, drafts atomic.Int64

	mu        sync.Mutex
	bookings  map[slot]int64
	patients  []string
	imports   map[string]bool // by name: acknowledged
	loggedOut []*rig.Client
	answers   map[string]int
}

func newLedger() *ledger {
	return &ledger{bookings: map[slot]int64{}, imports: map[string]bool{}, answers: map[string]int{}}
}

func (l *ledger) count(what string, status int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		status = 0
	}
	l.answers[fmt.Sprintf("%s %d", what, status)]++
}

// book reports false if the slot was given away before.
func (l *ledger) book(b booking) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := slot{b.Doctor, b.StartsAt}
	_, taken := l.bookings[key]
	l.bookings[key] = b.Patient
	return !taken
}

func (l *ledger) patient(email string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.patients = append(l.patients, email)
}

func (l *ledger) imported(name string, acknowledged bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.imports[name] = acknowledged
}

func (l *ledger) logout(stolen *rig.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.loggedOut = append(l.loggedOut, stolen)
}

// String tells how much was acknowledged, and which answers there were beside.
func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var odd []string
	for what, n := range l.answers {
		if !strings.HasSuffix(what, " 200") && !strings.HasSuffix(what, " 201") && !strings.HasSuffix(what, " 204") && !strings.HasSuffix(what, " 409") {
			odd = append(odd, fmt.Sprintf("%s × %d", what, n))
		}
	}
	slices.Sort(odd)
	return fmt.Sprintf("%d bookings, %d patients, %d imports tried, %d logins, %d logouts, %d drafts; not served: %s",
		len(l.bookings), len(l.patients), len(l.imports), l.logins.Load(), len(l.loggedOut), l.drafts.Load(), strings.Join(odd, ", "))
}

// audit holds the ledger against the database, and tries the cookies of those
// who logged out.
func (l *ledger) audit(t *testing.T, h *host) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	conn, err := pgx.Connect(ctx, h.postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)

	stored := map[slot]int64{}
	rows, err := conn.Query(ctx, "select doctor, starts_at, patient_id from appointments")
	if err != nil {
		t.Fatal(err)
	}
	var s slot
	var patient int64
	if _, err := pgx.ForEachRow(rows, []any{&s.doctor, &s.at, &patient}, func() error {
		key := slot{s.doctor, s.at.UTC()}
		if _, twice := stored[key]; twice {
			t.Errorf("%v is booked twice", key)
		}
		stored[key] = patient
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for key, patient := range l.bookings {
		if stored[key] != patient {
			t.Errorf("%v was acknowledged for patient %d, and is there for %d", key, patient, stored[key])
		}
	}

	emails, err := queryStrings(ctx, conn, "select email from patients")
	if err != nil {
		t.Fatal(err)
	}
	for _, email := range l.patients {
		if n := emails[email]; n != 1 {
			t.Errorf("%s was acknowledged and is there %d times", email, n)
		}
	}
	for name, acknowledged := range l.imports {
		n := 0
		for i := range importSize {
			n += emails[fmt.Sprintf("%s-%d@example.com", name, i)]
		}
		if n != importSize && (acknowledged || n != 0) {
			t.Errorf("%s: %d of %d are there; acknowledged: %v", name, n, importSize, acknowledged)
		}
	}

	patience := time.Now().Add(5 * time.Second)
	for _, stolen := range l.loggedOut {
		r, err := stolen.Do(ctx, http.MethodGet, "/api/me", nil)
		// Just after an outage "not known yet" is an answer, but not the last.
		for err == nil && r.Status == http.StatusServiceUnavailable && time.Now().Before(patience) {
			time.Sleep(100 * time.Millisecond)
			r, err = stolen.Do(ctx, http.MethodGet, "/api/me", nil)
		}
		if err != nil || r.Status != http.StatusUnauthorized {
			t.Errorf("the cookie of somebody who had logged out: status %d, %v, want 401", r.Status, err)
		}
		stolen.Close()
	}
}

func queryStrings(ctx context.Context, conn *pgx.Conn, sql string) (map[string]int, error) {
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	counts := make(map[string]int, len(list))
	for _, s := range list {
		counts[s]++
	}
	return counts, err
}
