package rbsp_test

import (
	"fmt"

	"github.com/shutterfleet/shutterfleet/capture/codec/rbsp"
)

func Example() {
	var r rbsp.Reader
	r.Open([]byte{0b1010_0110, 0, 0, 3, 0b0001_1000}) // a payload with an emulation prevention byte
	fmt.Println(r.UE(), r.SE(), r.Flag(), r.U(20), r.More(), r.Overrun())
	fmt.Println(r.Pos, "of", r.End, "bits were read")
	// Output:
	// 0 1 false 786432 true false
	// 25 of 28 bits were read
}
