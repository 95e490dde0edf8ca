#!/usr/bin/env perl

# Other traffic of the same server: if this fails, loading the module breaks
# a proxied WebSocket, a download, an upload or a cache; or NGINX's helper
# processes take the places of workers.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use Digest::MD5 qw( md5_hex );

use Fanout::Nginx;


# what is asked of both: an NGINX with the module and one without

my $locations = <<'END';
        location = /plain  { return 200 "plain\n"; }
        location /static/  { root %%DIR%%; sendfile on; tcp_nopush on; }
        location /threads/ { alias %%DIR%%/static/; aio threads;
                             sendfile on; output_buffers 1 64k; }
        location /direct/  { alias %%DIR%%/static/; sendfile off; }
        location /gzip/    { alias %%DIR%%/static/; gzip on;
                             gzip_types *; gzip_min_length 1; }
        location /cached/  { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_cache files; proxy_cache_valid 1m;
                             add_header X-Cache $upstream_cache_status; }
        location /proxied/ { proxy_pass http://127.0.0.1:%%PORT1%%/static/;
                             proxy_buffering off; }
        location /old/     { rewrite ^/old/(.*)$ /static/$1 last; }
        location /moved    { return 301 /plain; }
        location /denied   { deny all; }
        location /missing  { error_page 404 = @fallback; root %%DIR%%/none; }
        location @fallback { return 200 "fallback\n"; }
        location /ssi      { ssi on; ssi_types *; root %%DIR%%; }
END

my $elsewhere = <<'END';
        server {
            listen 127.0.0.1:%%PORT1%%;
            location /static/ { root %%DIR%%; }
        }
END

my $cache = 'proxy_cache_path %%DIR%%/cache keys_zone=files:1m;';

my $nginx = Fanout::Nginx->start(
    main => 'thread_pool default threads=2;',
    http => <<"END",
        fanout_zone app 8m slots=4;
        fanout_channel app * history=100;
        $cache
END
    server => <<"END",
        $locations
        location /realtime { fanout app; fanout_permit all *; }
        location /raw      { fanout app; fanout_dialect raw;
                             fanout_permit all *; }
        location /fanout/  { fanout_api app; }
        location = /status { fanout_status app; }
        location /elsewhere/ {
            proxy_pass http://127.0.0.1:%%PORT1%%/raw;
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection "upgrade";
        }
END
    servers => <<"END",
        $elsewhere
        server {
            listen 127.0.0.1:%%PORT2%%;
            location /raw { fanout app; fanout_dialect raw;
                            fanout_permit all *; }
        }
END
);

my $bare = Fanout::Nginx->start(
    module  => '',
    main    => 'thread_pool default threads=2;',
    http    => $cache,
    server  => $locations,
    servers => $elsewhere,
);

for my $one ($nginx, $bare) {
    my $dir = $one->dir;

    mkdir "$dir/static";
    write_file("$dir/static/$_", pattern($_))
        for 0, 1, 1000, 70_000, 3_000_000;
    write_file("$dir/ssi", 'a<!--# include virtual="/plain" -->b');
}


sub write_file {
    my ($path, $text) = @_;

    open my $f, '>', $path or die "$path: $!";
    print $f $text;
    close $f;
    utime 1_700_000_000, 1_700_000_000, $path;
}


sub pattern {
    my ($size) = @_;

    return substr join('', map { sprintf "%07d\n", $_ } 0 .. $size / 8), 0,
                  $size;
}


sub answer {
    my ($http, @request) = @_;

    my $r = $http->request(@request);
    my %h = %{ $r->{headers} };

    delete @h{qw( x-worker date )};
    $h{location} =~ s/:\d+// if $h{location};

    return "$r->{status} " . md5_hex($r->{body}) . ' ' . length($r->{body})
         . ' ' . join ', ', map { "$_=$h{$_}" } sort keys %h;
}


subtest 'the same answers as without the module' => sub {
    my ($with, $without) = ($nginx->http, $bare->http);

    # sessions that receive meanwhile

    my @in = map { $nginx->native(path => '/realtime') } 1 .. 10;
    $_->ok('join', channel => 'a') for @in;

    my $n = 0;

    for my $path ('plain', 'moved', 'denied', 'missing/x', 'ssi', 'nowhere',
                  map { my $d = $_;
                        map { "$d/$_" } 0, 1, 1000, 70_000, 3_000_000, 'no'
                      } qw( static threads direct gzip cached cached proxied
                            old ))
    {
        for my $o ([ 'GET' ], [ 'HEAD' ],
                   [ 'GET', headers => { Range => 'bytes=10-99' } ],
                   [ 'GET', headers => { 'Accept-Encoding' => 'gzip' } ],
                   [ 'GET', headers => { 'If-Modified-Since'
                        => 'Tue, 14 Nov 2023 22:13:20 GMT' } ])
        {
            my ($method, @o) = @$o;

            $in[$n++ % 10]->send_cmd('publish', channel => 'a', data => $n);

            my ($got, $want) = map {
                answer($_, $method, "/$path", @o)
            } $with, $without;

            is($got, $want, "$method /$path @{ $o[1] ? [ %{ $o[1] } ] : [] }")
                if $got ne $want;
        }
    }

    for my $in (@in) {
        my @got = map { $in->next_push->{data} } 1 .. $n;

        is_deeply([ sort { $a <=> $b } @got ], [ 1 .. $n ],
                  'a session got every message meanwhile');
    }
};


subtest 'a WebSocket that is proxied elsewhere' => sub {
    # to another server of this NGINX: what arrives there is a handshake like
    # any other, and what passes here is a tunnel

    $nginx->reload(servers => <<"END");
        server {
            listen 127.0.0.1:%%PORT1%%;
            location /static/ { root %%DIR%%; }
            location /raw     { fanout app; fanout_dialect raw;
                                fanout_permit all *; }
        }
END

    my $far  = $nginx->ws(path => '/elsewhere/?channel=p');
    my $near = $nginx->ws(path => '/raw?channel=p');

    for my $size (1, 200, 30_000, 64_000) {
        $far->send_text('f' x $size);
        is(length $_->recv_text, $size, "$size bytes from far")
            for $far, $near;

        $near->send_binary('n' x $size);
        is(length $_->recv_message->{payload}, $size, 'and back')
            for $far, $near;
    }

    is($far->close(4321), 4321, 'a close');
};


subtest 'helpers take no slots' => sub {
    my @helpers = $nginx->children(qr/^nginx: cache (?:manager|loader)/);

    ok(scalar @helpers, 'there are some');
    wait_for(sub { !$nginx->stopping_pids });

    # four slots: two workers, and two more at a reload

    my $s = wait_for(sub {
        my $s = $nginx->http->get('/status')->json;
        return $s->{zone}{limits}{workers} == 2 && $s;
    });

    ok($s, 'two slots in use');

    my %worker = map { $_ => 1 } $nginx->worker_pids;

    is(scalar(grep { !$worker{ $_->{pid} } } @{ $s->{workers} || [] }), 0,
       'by the workers');
};


done_testing();
