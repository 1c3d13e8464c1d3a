# scripts/build.sh: builds the extension and usherd, and installs them into a private tree.
#
# PostgreSQL finds its libraries and extensions relative to its own executable,
# so a tree holds copies of the executables, symbolic links to everything else
# of the system's installation, and our own files beside them.
#
# The sources are mirrored into the cache and built there: the repository may
# be read-only or belong to another user, and two users may build at a time.
# shellcheck shell=bash

build_dir=$cache/src

build_lock() {
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
}

build_unlock() {
	exec 9>&-
}

# The files that the build may read: all but the products of a build.
build_sources() {
	(cd "$root" && find . \
		\( -name .git -o -path ./build -o -name results -o -name __pycache__ \) -prune -o \
		\( -type f -o -type l \) ! -name '*.o' ! -name '*.bc' ! -name '*.so' ! -name '*.pyc' \
		-print | sort)
}

build_mirror() {
	local list=$cache/sources stamp

	mkdir -p "$build_dir"
	touch "$list"
	build_sources >"$list.new"
	comm -23 "$list" "$list.new" | (cd "$build_dir" && xargs -r -d '\n' rm -f)
	tar -C "$root" --no-recursion -cf - --files-from="$list.new" |
		tar -C "$build_dir" --no-same-owner -xpf -
	mv "$list.new" "$list"

	# Other sources than before, another Makefile or PostgreSQL: build all anew.
	# (make itself knows what depends on a changed header.)
	stamp=$( (cd "$build_dir" && grep -E '\.(c|h)$' "$cache/sources" && cat Makefile ./*.control &&
		"$pg_config" --version) | sha256sum)
	if [ "$stamp" != "$(cat "$cache/stamp" 2>/dev/null)" ]; then
		build_make clean >/dev/null 2>&1 || true
		build_gateway clean >/dev/null 2>&1 || true
		printf '%s\n' "$stamp" >"$cache/stamp"
	fi
}

build_make() {
	make -C "$build_dir" --no-print-directory PG_CONFIG="$pg_config" COPT=-Werror "$@"
}

build_gateway() {
	make -C "$build_dir/gateway" --no-print-directory PG_CONFIG="$pg_config" "$@"
}

build_all() {
	build_make -j"$jobs" all && build_gateway -j"$jobs" all
}

build() {
	build_mirror
	quietly "$cache/build.log" build_all || fail "the build failed ($cache/build.log)"
}

# tree_make TREE: copies and links the system's installation.
tree_make() {
	local target=$1 stamp share=/usr/share/postgresql/$pg_major

	stamp=$(find -L "$pg_home/bin" "$pg_home/lib" "$share" -type f -printf '%p %s %T@\n' |
		sort | sha256sum)
	[ "$stamp" != "$(cat "$target/stamp" 2>/dev/null)" ] || return 0
	rm -rf "$target"
	mkdir -p "$target$pg_home" "$target/usr/share/postgresql"
	cp -rL "$pg_home/bin" "$target$pg_home/bin"
	cp -rs "$pg_home/lib" "$target$pg_home/lib"
	cp -rs "$share" "$target$share"
	printf '%s\n' "$stamp" >"$target/stamp"
}

# tree_install TREE: builds, and makes or renews a tree.
tree_install() {
	build_lock
	build
	tree_make "$1"
	quietly "$cache/install.log" build_make install DESTDIR="$1" ||
		fail "the installation failed ($cache/install.log)"
	install -m 755 "$build_dir/gateway/usherd" "$1$pg_home/bin/usherd.new"
	mv "$1$pg_home/bin/usherd.new" "$1$pg_home/bin/usherd"
	build_unlock
}

tree_bin() { printf '%s\n' "$1$pg_home/bin"; }

# What a running server has loaded; when it differs, the server must restart.
tree_fingerprint() {
	cat "$1/stamp" "$1$pg_home"/lib/pg_usher*.so | sha256sum | cut -c1-32
}

install_main() {
	# shellcheck disable=SC2086
	packages_need $packages_build
	tree_install "$tree"
	say "installed into $tree"
}

tree_main() {
	if ! [ -e "$tree$pg_home/lib/pg_usher.so" ]; then
		install_main >&2
	fi
	tree_bin "$tree"
}
