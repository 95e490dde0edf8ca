#!/usr/bin/env perl

# Every response of a server is broadcast, whatever it is: if this fails, one is
# not what NGINX makes of it without the module, or a worker dies of it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw( md5_hex );
use IO::Socket::INET;

use Fanout::Nginx;


$ENV{MALLOC_PERTURB_} = 165;

my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;

sub with { my ($module, $text) = @_; $version =~ /$module\b/ ? $text : '' }


# a backend that does not do as it says

my $listener = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 64,
                                     ReuseAddr => 1) or die "listen: $!";
my $port = $listener->sockport;

my %says = (
    long    => "Content-Length: 5\r\n\r\n123456789",
    short   => "Content-Length: 500\r\n\r\n12345",
    none    => "Content-Length: 500\r\n\r\n",
    zero    => "Content-Length: 0\r\n\r\n12345",
    until   => "\r\n" . '1234567890' x 3000,
    chunks  => "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"
               . "a\r\n1234567890\r\n0\r\n\r\n",
    cut     => "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nff\r\n123",
    ranges  => "Accept-Ranges: bytes\r\nContent-Length: 10\r\n\r\n1234567890",
    inside  => "X-Accel-Redirect: /static/1000\r\nContent-Length: 3\r\n\r\nxyz",
    gone    => "X-Accel-Redirect: /static/no\r\nContent-Length: 3\r\n\r\nxyz",
    packed  => "Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\n\x1f\x8bxyz",
);

my $main = $$;
my $backend = fork;
die "fork: $!" if !defined $backend;

if (!$backend) {
    $SIG{TERM} = sub { POSIX::_exit(0) };

    while (my $s = $listener->accept) {
        my $head = '';
        1 while $head !~ /\r\n\r\n/ && sysread $s, $head, 4096, length $head;
        my ($what) = $head =~ m{^\S+ /says/(\w+)};
        syswrite $s, "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                     . ($says{ $what || '' } || "Content-Length: 0\r\n\r\n");
        close $s;
    }

    POSIX::_exit(0);
}

END { kill 'TERM', $backend if $backend && $$ == $main }


my $locations = <<"END";
        root %%DIR%%;
        location /static/  { sendfile on; }
        location /direct/  { alias %%DIR%%/static/; sendfile off;
                             output_buffers 1 1k; }
        location /max/     { alias %%DIR%%/static/; max_ranges 2; }
        location /gzip/    { alias %%DIR%%/static/; gzip on; gzip_types *;
                             gzip_min_length 1; }
        location /cached/  { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_cache files; proxy_cache_valid any 1m; }
        location /forced/  { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_force_ranges on; }
        location /proxied/ { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_buffering off; }
        location /says/    { proxy_pass http://127.0.0.1:$port;
                             proxy_next_upstream off; }
        location /kept/    { proxy_pass http://127.0.0.1:$port/says/;
                             proxy_next_upstream off;
                             proxy_cache files; proxy_cache_valid any 1m;
                             proxy_force_ranges on; }
        location /caught/  { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_intercept_errors on;
                             error_page 404 416 =203 /static/1; }
        location /missing  { error_page 404 416 = \@named; }
        location \@named    { return 200 "named\\n"; }
        location /pages/   { alias %%DIR%%/static/;
                             error_page 404 416 /static/1000; }
        location /tried/   { try_files /none /static/70000 =404; }
        location = /return { return 200 "1234567890"; }
        location /moved    { return 301 /return; }
        location /denied   { deny all; }
        location = /status { return 204; }
        location /ssi/     { ssi on; ssi_types *; alias %%DIR%%/ssi/; }
        location /mirror/  { alias %%DIR%%/static/; mirror /mirrored; }
        location /mirrored { internal; return 200 "mirrored"; }
@{[ with(http_sub_module => <<'MORE') ]}
        location /sub/     { alias %%DIR%%/static/; sub_filter x yyy;
                             sub_filter_types *; sub_filter_once off; }
MORE
@{[ with(http_auth_request_module => <<'MORE') ]}
        location /asked/   { alias %%DIR%%/static/; auth_request /return; }
        location /refused/ { alias %%DIR%%/static/; auth_request /denied; }
MORE
@{[ with(http_slice_module => <<'MORE') ]}
        location /slice/   { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             slice 300; proxy_cache files;
                             proxy_cache_key $uri$slice_range;
                             proxy_set_header Range $slice_range;
                             proxy_cache_valid any 1m; }
MORE
END

my $elsewhere = 'server { listen 127.0.0.1:%%PORT1%%; root %%DIR%%; }';
my $cache = 'proxy_cache_path %%DIR%%/cache keys_zone=files:1m;';

my $nginx = Fanout::Nginx->start(
    level   => 'crit',
    http    => "fanout_zone app 8m; fanout_channel app * history=10; $cache",
    server  => "fanout_broadcast app all methods=any status=any;
                fanout_broadcast app sent methods=any status=any body=request;
                $locations
                location /api/ { fanout_api app; }",
    servers => $elsewhere,
);

my $bare = Fanout::Nginx->start(
    level   => 'crit',
    module  => '',
    http    => $cache,
    server  => $locations,
    servers => $elsewhere,
);

for ($nginx, $bare) {
    my $dir = $_->dir;

    mkdir "$dir/$_" for qw( static ssi );

    my %files = (
        (map { ("static/$_" => substr 'x1234567890' x 7000, 0, $_) }
             0, 1, 8, 1000, 70_000),
        'ssi/a' => 'a <!--#include virtual="/static/8" --> b '
                   . '<!--#include virtual="/static/1000" --> c',
        'ssi/b' => '<!--#include virtual="/says/long" -->',
    );

    for my $name (sort keys %files) {
        open my $f, '>', "$dir/$name" or die "$name: $!";
        print $f $files{$name};
        close $f;
        utime 1_700_000_000, 1_700_000_000, "$dir/$name";
    }
}


# as it is sent, but for what no two NGINX have in common

sub answer {
    my ($nginx, $method, $path, $headers, $body) = @_;

    my $s = Fanout::Socket->open(port => $nginx->port);

    $s->send_bytes("$method $path HTTP/1.1\r\nHost: x\r\n$headers"
                   . "Connection: close\r\n"
                   . (length $body ? 'Content-Length: ' . length($body)
                                     . "\r\n" : '')
                   . "\r\n$body");
    $s->fill(10) until $s->eof;

    my $answer = ${ $s->buffer };
    my $other  = $nginx->port;

    $answer =~ s/^Date: .*?\r\n//gm;
    $answer =~ s/^X-Worker: .*?\r\n//gm;
    $answer =~ s/:$other\b/:PORT/g;

    my ($head, $data) = split /\r\n\r\n/, $answer, 2;

    if ($head =~ /^Transfer-Encoding: chunked/m) {
        # how it comes in parts is a matter of time
        $data = unchunked($data);
        $answer = "$head\r\n\r\n$data";
    }

    if ($answer =~ /^Content-Type: multipart\/byteranges; boundary=(\d+)/m) {
        my $boundary = $1;
        $answer =~ s/$boundary/BOUNDARY/g;
    }

    return length $answer < 2000 ? $answer
         : substr($answer, 0, 1000) . ' ' . length($answer) . ' '
           . md5_hex($answer);
}


# with what is behind the last whole chunk, if it is cut off

sub unchunked {
    my ($in) = @_;

    my $out = '';

    while ($in =~ s/^([0-9a-f]+)\r\n//) {
        my $n = hex $1;

        last if $n == 0;
        $out .= substr $in, 0, $n, '';
        $in =~ s/^\r\n//;
    }

    return "$out$in";
}


my @paths = (
    (map { my $d = $_; map { "/$d/$_" } 0, 1, 8, 1000, 70_000, 'no' }
         qw( static direct max gzip cached cached forced proxied caught pages
             mirror ),
         with(http_sub_module => 'sub') || (),
         with(http_auth_request_module => 'asked') || (),
         with(http_slice_module => 'slice') || ()),
    (map { ("/says/$_", "/kept/$_", "/kept/$_") } sort keys %says),
    qw( /missing /tried/x /return /moved /denied /status /ssi/a /ssi/b
        /refused/1 /static ),
);

my $even = 'If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT';

my @requests = (
    [ 'GET', '' ], [ 'HEAD', '' ], [ 'POST', '', 'x' x 3000 ], [ 'PUT', '' ],
    (map { [ 'GET', "Range: bytes=$_\r\n" ] }
         '0-2', '0-2,4-', '5-', '-3', '100000-', '3-2',
         join(',', map { $_ * 5 . '-' . ($_ * 5 + 2) } 0 .. 99)),
    [ 'HEAD', "Range: bytes=0-2,4-5\r\n" ],
    [ 'GET', "Range: bytes=0-2,4-\r\nIf-Range: \"no\"\r\n" ],
    [ 'GET', "$even\r\n" ], [ 'GET', "$even\r\nRange: bytes=0-2,4-\r\n" ],
    [ 'GET', "If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT\r\n" ],
    [ 'GET', "If-Match: \"no\"\r\n" ],
    [ 'GET', "Accept-Encoding: gzip\r\n" ],
    [ 'GET', "Accept-Encoding: gzip\r\nRange: bytes=0-2,4-\r\n" ],
);

my @workers = $nginx->worker_pids;
my $n = 0;

for my $path (@paths) {
    subtest $path => sub {
        for my $r (@requests) {
            my ($method, $headers, $body) = @$r;

            my ($got, $want) = map {
                answer($_, $method, $path, $headers,
                       defined $body ? $body : '')
            } $nginx, $bare;

            $n++;
            (my $name = "$method $headers") =~ s/\r\n/ /g;
            is($got, $want, substr $name, 0, 70);
        }
    };
}

is_deeply([ $nginx->worker_pids ], \@workers, "all of $n by the same workers");

my $r = $nginx->http->get('/api/channels/all');
like($r->{body}, qr/"offset"/, 'and there was a broadcast');

done_testing;
