#!/usr/bin/env perl

# The build: if this fails, the module does not build with the warnings that
# packagers turn on, or with clang, or beside another module with files of the
# same names, or make keeps a build that other flags were asked for.

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use File::Path qw( make_path );
use File::Temp qw( tempdir );
use Test::More;

use FindBin;
use lib "$FindBin::Bin/lib";

use Fanout::Nginx ();

my $root = abs_path(dirname(__FILE__) . '/..');
my $src  = $ENV{NGINX_SRC} || '/usr/share/nginx/src';

plan skip_all => "no NGINX source in $src"
    if !-f "$src/src/core/nginx.h";

my $dir    = tempdir(CLEANUP => 1);
my $strict = '-Wall -Wextra -Wno-unused-parameter -Werror';

delete @ENV{qw( MAKEFLAGS MAKELEVEL MFLAGS )};
$ENV{NGINX_BINARY} = Fanout::Nginx::binary();


# what is asked of the compiler, of NGINX's own checks too

sub configure {
    my ($cc) = @_;

    local @ENV{qw( MODULE_CC MODULE_CFLAGS )} = ($cc, $strict);

    my $said = `$root/t/tools/configure $src $dir/$cc 2>&1`;

    ok($? == 0, "$cc, $strict: configured") or diag($said);
    return $? == 0;
}


sub variable {
    my ($file, $name) = @_;

    my $text = Fanout::Nginx::slurp($file);

    $text =~ s/\\\n//g;
    return $text =~ /^$name\s*=\s*(.*)/m ? $1 : '';
}


SKIP: {
    skip 'no clang here', 2 if system 'which clang > /dev/null 2>&1';
    configure('clang') or skip 'not configured', 1;

    my $make  = "$dir/clang/objs/Makefile";
    my $flags = variable($make, 'CFLAGS') . ' ' . variable($make, 'ALL_INCS');
    my @files = (glob("$root/src/*.c"), glob "$root/src/*/*.c");

    my $said = `cd $dir/clang && clang -fsyntax-only $flags @files 2>&1`;

    ok($? == 0, 'clang has no objections to any of ' . @files . ' files')
        or diag($said);
}

# the build itself is gcc's opinion

like(variable("$root/build/nginx/objs/Makefile", 'CFLAGS'),
     qr/-W(extra)? -Wall .*-Werror/, 'make builds with these warnings')
    if -f "$root/build/nginx/objs/Makefile";


subtest 'other flags make another build' => sub {
    plan skip_all => 'no make here' if system 'which make > /dev/null 2>&1';

    my %state;

    for my $set (qw( NGINX_FLAGS MODULE_CFLAGS MODULE_LDFLAGS MODULE_CC )) {
        for my $value ('', '--with-some', '--with-other') {
            system("make -s -C $root NODEPS=1 BUILD=$dir/make "
                   . "$set=$value $dir/make/state > /dev/null 2>&1") == 0
                or fail("make state with $set=$value");
            $state{Fanout::Nginx::slurp("$dir/make/state")}++;
        }
    }

    is(scalar keys %state, 9, 'for each of four variables');
};


subtest 'a test of NGINX needs no unit tests' => sub {
    plan skip_all => 'no make here' if system 'which make > /dev/null 2>&1';

    my %units = ('' => 1, 't/lib.t t/unit.t' => 1, 't/lib.t' => 0);

    for my $tests (sort keys %units) {
        my $said = `make -n -C $root NODEPS=1 MAKE=: test T='$tests' 2>&1`;

        like($said, qr/--no-print-directory all /, "make test T='$tests'");
        is($said =~ /--no-print-directory all +units\b/ ? 1 : 0, $units{$tests},
           $units{$tests} ? 'builds them' : 'does not build them');
    }
};


# Linked into NGINX, beside a module with files of the same names:
# an object's path has the name of its last directory only.

sub write_file {
    my ($path, $text) = @_;

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f or die "$path: $!";
}


sub neighbour {
    my ($at) = @_;

    for my $room (qw( zone http )) {
        make_path("$at/src/$room");
    }

    write_file("$at/src/zone/channel.c", "int neighbour_channel;\n");
    write_file("$at/src/http/http.c", "int neighbour_http;\n");
    write_file("$at/config", <<'END');
ngx_addon_name=neighbour_module
ngx_module_type=CORE
ngx_module_name=$ngx_addon_name
ngx_module_incs=
ngx_module_deps=
ngx_module_srcs="$ngx_addon_dir/src/zone/channel.c \
    $ngx_addon_dir/src/http/http.c"
ngx_module_libs=
. auto/module
END
}


subtest 'linked into NGINX, beside a module with files of the same names' => sub {
    my $nginx = "$dir/static";

    neighbour("$dir/neighbour");
    system('cp', '-r', $src, $nginx) == 0 or die "cp $src";

    my $configure = (grep { -x "$nginx/$_" } 'configure', 'auto/configure')[0];

    my $said = `cd $nginx && ./$configure --without-http_rewrite_module \\
                --add-module=$root --add-module=$dir/neighbour 2>&1`;

    is($?, 0, 'configured') or return diag($said);

    my $make = Fanout::Nginx::slurp("$nginx/objs/Makefile");
    my (%rules, %rooms);

    $rules{$_}++ for $make =~ m{^(objs/addon/\S+\.o):}gm;
    $rooms{$_}++ for map { m{addon/(\w+)/} } keys %rules;

    is(join(' ', grep { $rules{$_} > 1 } sort keys %rules), '',
       'no two files have one object');
    is(join(' ', grep { !/^fanout_/ } sort keys %rooms), 'http src zone',
       'rooms are objs/addon/fanout_*');

    my @objects = map { "objs/addon/$_.o" }
                  qw( zone/channel http/http
                      fanout_zone/channel fanout_http/http );

    $said = `cd $nginx && make -s -f objs/Makefile @objects 2>&1`;
    is($?, 0, 'compiled') or return diag($said);

    my %has;

    for my $object (@objects) {
        $has{$object} = join ' ', `nm $nginx/$object`
                                  =~ /\b(neighbour|fanout)_\w+$/mg;
    }

    like($has{$objects[$_]}, $_ < 2 ? qr/^neighbour$/ : qr/^(fanout ?)+$/,
         "$objects[$_] is its own") for 0 .. 3;
};


done_testing();
