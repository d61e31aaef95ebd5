package pgpool

import (
	"strings"
	"testing"
	"time"
)

func TestSkew(t *testing.T) {
	t.Parallel()
	asked := time.Unix(1_000_000, 0)
	answered := asked.Add(time.Second)
	for _, c := range []struct{ then, want time.Duration }{
		{1_000_000 * time.Second, 0},
		{1_000_001 * time.Second, 0},
		{1_000_004 * time.Second, 3 * time.Second},
		{999_996 * time.Second, -4 * time.Second},
	} {
		if got := skew(c.then, asked, answered); got != c.want {
			t.Errorf("skew(%v) = %v, want %v", c.then, got, c.want)
		}
	}
}

func TestAdviceOnClocks(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		time.Second:      "",
		3 * time.Second:  "the clock of the database is 3s ahead of this machine's",
		-3 * time.Second: "the clock of the database is 3s behind this machine's",
	} {
		s := survey{maxConns: 100, skew: d}
		got := strings.Join(s.advice(Config{MaxConns: 20}, PoolModeDirect), "")
		if !strings.HasPrefix(got, want) || (want == "") != (got == "") {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
