package pgpool

import "fmt"

// shielded runs a hook of the host where no caller is to hear of its panic, and
// runtime.Goexit would end a goroutine that others need: both become errors. It
// takes a goroutine, as nothing stops a Goexit.
func shielded(name string, hook func() error) (err error) {
	err = fmt.Errorf("pgpool: %s ended its goroutine", name)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("pgpool: %s panicked: %v", name, v)
			}
		}()
		err = hook()
	}()
	<-done
	return err
}
