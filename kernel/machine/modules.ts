/** Every part of the kernel that registers operations by number: loaded by the host and by each CPU. */
import "../drivers/index.ts";
import "../fs/hostfs/index.ts";
import "../fs/vfs.ts";
import "../ipc/index.ts";
import "../proc/index.ts";
import "../subsystem/device.ts";
import "./host-pipe.ts";
