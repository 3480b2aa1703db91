package wsserver_test

import (
	"context"
	"fmt"
	"slices"

	"github.com/belfry-io/belfry/adapter"
	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/wsserver"
)

// Nodes tells which servers there are, and of changes. Here one server watches another come and go.
func ExampleServer_Nodes() {
	memory := new(adapter.Memory)
	open := func(name string) *wsserver.Server {
		srv := wsserver.New(wsserver.Config{Adapter: memory, Cluster: wsserver.ClusterConfig{NodeName: name}})
		if err := srv.Ready(context.Background()); err != nil {
			fmt.Println(err)
		}
		return srv
	}
	srv := open("web-1")
	defer srv.Close(context.Background())

	ctx, stop := context.WithCancel(context.Background())
	lists, done := make(chan []string), make(chan struct{})
	go func() {
		defer close(done)
		var last []cluster.Node
		for {
			all, changed := srv.Nodes()
			if !slices.Equal(all, last) {
				var names []string
				for _, n := range all {
					if n.Suspect {
						n.Name += ", suspect"
					}
					names = append(names, n.Name)
				}
				lists <- names
			}
			last = all
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	fmt.Println(<-lists)
	other := open("web-2")
	fmt.Println(<-lists)
	if err := other.Close(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-lists)
	stop()
	<-done
	// Output:
	// [web-1]
	// [web-1 web-2]
	// [web-1]
}
