package packet_test

import (
	"fmt"

	"github.com/belfry-io/belfry/adapter/packet"
)

func ExampleMarshalEvent() {
	type picture struct {
		Name string `json:"name"`
		Data []byte `json:"data"`
	}
	args, err := packet.MarshalEvent("picture", picture{Name: "dot.gif", Data: []byte("GIF89a")})
	if err != nil {
		fmt.Println(err)
		return
	}
	e, err := packet.JSON{}.Encode(&packet.Packet{Type: packet.Event, Namespace: "/gallery", Args: args})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n%q\n", e.Text, e.Attachments)
	// Output:
	// 51-/gallery,["picture",{"name":"dot.gif","data":{"_placeholder":true,"num":0}}]
	// ["GIF89a"]
}

func ExamplePacket_Decode() {
	decoder := packet.JSON{}.NewDecoder(nil)
	p, err := decoder.Text([]byte(`2/admin,456["project:delete",123,{"force":true}]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	var project int
	if err := p.Decode(&project); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Type, p.Namespace, p.ID, p.Event(), project)

	var options, more struct{ Force bool }
	fmt.Println(p.Decode(nil, &options, &more))
	// Output:
	// event /admin 456 project:delete 123
	// packet: argument cannot be converted: 2 is missing, there are 2
}

func ExampleDecoder() {
	decoder := packet.JSON{}.NewDecoder(&packet.Limits{Attachments: 1})
	p, err := decoder.Text([]byte(`51-["upload",{"file":{"_placeholder":true,"num":0}}]`))
	fmt.Println(p == nil, err) // an attachment is awaited
	p, err = decoder.Binary([]byte("content"))
	if err != nil {
		fmt.Println(err)
		return
	}
	var upload struct{ File []byte }
	err = p.Decode(&upload)
	fmt.Printf("%s %v\n", upload.File, err)
	// Output:
	// true <nil>
	// content <nil>
}
