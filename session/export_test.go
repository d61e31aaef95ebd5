package session

import "fmt"

// DecodeRecord opens a record with a key that sealed none.
func DecodeRecord(raw []byte) error {
	k, err := newKeys("a secret that nobody has used")
	if err != nil {
		panic(err)
	}
	f := &nativeFormat{ring: []*keys{k}, cfg: &Config{}}
	_, err = f.decode(raw, identOf(newToken("")))
	return err
}

// RecodeExpress reads an Express record, writes it, and reads it again.
func RecodeExpress(raw []byte) error {
	o := options{}
	WithExpressSessions(ExpressConfig{})(&o)
	f := &expressFormat{cfg: o.express, m: &Manager{cfg: Config{}.withDefaults()}}
	r, err := f.decode(raw, ident{})
	if err != nil {
		return nil //nolint:nilerr // not a record
	}
	_ = f.expiry(r)
	again, err := f.encode(r, ident{})
	if err != nil {
		return err
	}
	r2, err := f.decode(again, ident{})
	if err != nil {
		return fmt.Errorf("written as %q: %w", again, err)
	}
	if r2.User != r.User || len(r2.Values) != len(r.Values) {
		return fmt.Errorf("written as %q: user %q and %d values, before %q and %d", again, r2.User, len(r2.Values), r.User, len(r.Values))
	}
	return nil
}
