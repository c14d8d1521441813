// Command etcd is the store behind kube-apiserver, at the version that this Kubernetes names.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
