package admin_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/shutterfleet/shutterfleet/scheduler"
	"github.com/shutterfleet/shutterfleet/scheduler/admin"
	"github.com/shutterfleet/shutterfleet/scheduler/admin/admintest"
)

// A program asks with a bearer token; here the token is its role's name.
func Example() {
	f := admintest.New()
	f.Add(1, scheduler.StatusOK)
	srv := httptest.NewServer(admin.New(f, admin.Options{}).Handler())
	defer srv.Close()

	r, err := http.NewRequest(http.MethodGet, srv.URL+"/api/v1/books", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	r.Header.Set("Authorization", "Bearer viewer")
	res, err := srv.Client().Do(r)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	fmt.Println(res.StatusCode, string(b), err)
	// Output:
	// 200 {"issued":0,"captured":0,"failed":0,"missed":0,"skipped":0,"in_flight":0,"duplicates":0,"balanced":true,"sites":{"home":{"issued":0,"captured":0,"failed":0,"missed":0,"skipped":0,"in_flight":0,"duplicates":0}}}
	//  <nil>
}
