package devservices_test

import (
	"context"
	"fmt"

	"github.com/pedro-go/pedro/devservices"
)

func Example() {
	if err := crash(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: hello
}

func crash(ctx context.Context) error {
	rd, err := devservices.StartRedis(ctx, devservices.WithAppendOnly())
	if err != nil {
		return err
	}
	defer rd.Close()

	if _, err := rd.Do(ctx, "SET", "greeting", "hello"); err != nil {
		return err
	}
	if err := rd.Kill(); err != nil { // as a crash would
		return err
	}
	if err := rd.Restart(ctx); err != nil { // on the same port, with the same data
		return err
	}
	greeting, err := rd.Do(ctx, "GET", "greeting")
	fmt.Println(greeting)
	return err
}
