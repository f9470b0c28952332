package cabac_test

import (
	"fmt"

	"github.com/shutterfleet/shutterfleet/capture/codec/cabac"
)

func Example() {
	data := []byte{0x5A, 0xC3, 0x3C, 0xA5, 0, 0, 0} // an RBSP from where its codes begin, and padding
	context := cabac.Init(20, -15, 26)              // m and n of a context, at a quantiser of 26
	var e cabac.Engine
	e.Start(data, 0)
	fmt.Println(e.Bin(&context), e.Bin(&context), e.Bypasses(3), e.Terminate())
	fmt.Println(e.Taken(), "bits were taken")
	// Output:
	// 0 0 3 false
	// 12 bits were taken
}
