package test

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/belfry-io/belfry/adapter/cluster"
	"github.com/belfry-io/belfry/natsadapter"
)

// calm is a member that answers at once, and stays.
type calm struct{}

func (calm) Deliver(any) bool                                { return true }
func (calm) DeliverWithAck(_ any, answer func([]byte, bool)) { answer([]byte("yes"), true) }
func (calm) CancelAck(any)                                   {}
func (calm) Describe() []byte                                { return []byte("calm") }
func (calm) Disconnect(bool)                                 {}

// stuck is a member that answers nothing.
type stuck struct{ calm }

func (stuck) DeliverWithAck(any, func([]byte, bool)) {}
func (stuck) Describe() []byte                       { select {} }

// members is how many a node has.
const members = 10

// beCalm is a node, on the NATS server with this URL, that answers whatever it is asked.
func beCalm(args []string) error {
	return beNode(args[0], calm{}, func(context.Context, cluster.ServerEvent) ([]byte, error) { return []byte("done"), nil })
}

// beStuck is a node, on the NATS server with this URL, that answers nothing, and whose members do not.
func beStuck(args []string) error {
	return beNode(args[0], stuck{}, func(ctx context.Context, _ cluster.ServerEvent) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
}

// beNode is a node with members in "lobby". It says its id.
func beNode(url string, m cluster.Member, handle func(context.Context, cluster.ServerEvent) ([]byte, error)) error {
	h := cluster.NewHub(cluster.HubConfig{Adapter: natsadapter.New(natsadapter.Config{URL: url, Cluster: "test"})})
	h.OnServerSide(handle)
	ctx := context.Background()
	r := h.Rooms("/", func(payload []byte, _ bool) (any, error) { return payload, nil })
	if err := h.Ready(ctx); err != nil {
		return err
	}
	if err := populate(ctx, h, r, m); err != nil {
		return err
	}
	fmt.Println(h.Node())
	io.Copy(io.Discard, os.Stdin)
	return nil
}

// populate adds members who are in "lobby".
func populate(ctx context.Context, h *cluster.Hub, r *cluster.Rooms, m cluster.Member) error {
	for range members {
		id, err := add(ctx, h, r, m)
		if err != nil {
			return err
		}
		if err := rejoin(func() error { return r.Join(ctx, id, "lobby") }); err != nil {
			return err
		}
	}
	return nil
}
