// An S3 server over a folder: Versity's gateway with its POSIX backend, and nothing of what else it can be.
// `server ADDRESS FOLDER METADATA`; keys are "test" and "test".
package main

import (
	"context"
	"log"
	"os"

	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

func main() {
	address, folder, metadata := os.Args[1], os.Args[2], os.Args[3]
	attributes, err := meta.NewSideCar(metadata)
	if err != nil {
		log.Fatal(err)
	}
	options := posix.PosixOpts{SideCarDir: metadata, Concurrency: 100, ValidateBucketNames: true}
	options.SetNewDirPerm(0o755)
	options.SetNewFilePerm(0o644)
	store, err := posix.New(folder, attributes, options)
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(embedgw.RunVersityGW(context.Background(), store, &embedgw.Config{
		RootUserAccess: "test", RootUserSecret: "test", Region: "us-east-1", Ports: []string{address},
		MaxConnections: 1000, MaxRequests: 1000, AdminMaxConnections: 10, AdminMaxRequests: 10,
		MultipartMaxParts: 10_000, KeepAlive: true, Quiet: true,
	}))
}
