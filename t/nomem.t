#!/usr/bin/env perl

# Allocations of the module fail, one at a time, at each step of a session by
# each transport: if this fails, a worker that is short of memory dies with all
# of its clients, or keeps what nobody owns.
#
# With TEST_NOMEM_ALL=1 every single one does, which takes minutes.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";

use File::Temp qw( tempdir );

use Fanout::H2;
use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Socket;


plan(skip_all => 'the module is linked in, with an allocator of its own')
    if defined $ENV{TEST_NGINX_MODULE} && $ENV{TEST_NGINX_MODULE} eq '';

my $dir = tempdir('fanout-nomem-XXXXXX', TMPDIR => 1, CLEANUP => 1);

system($ENV{CC} || 'cc', qw( -O2 -Wall -fPIC -shared -o ), "$dir/nomem.so",
       "$FindBin::Bin/lib/nomem.c") == 0 or die "nomem.c: $?\n";

open my $control, '+>', "$dir/nomem" or die "nomem: $!";


# the n-th from now on, 0: none

sub fail_at {
    sysseek $control, 0, 0;
    syswrite $control, pack 'Q3', $_[0], 0, 0;
}


sub counted {
    sysseek $control, 0, 0;
    sysread $control, my $bytes, 24;

    return (unpack 'Q3', $bytes)[1, 2];
}


fail_at(0);

my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
my ($minor) = $version =~ m{nginx/1\.(\d+)};
my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

my $locations = <<'END';
        fanout_permit all *;
        fanout_buffer 8k;
        fanout_ping 10m;
        location /rt { fanout app; }
        location /auto {
            fanout app;
            fanout_autojoin a room b;
        }
        location /raw { fanout app; fanout_dialect raw; }
        location /files/ { alias %%DIR%%/html/;
                           fanout_broadcast app a methods=any; }
        location /api { fanout_api app; }
        location = /status { fanout_status app; }
END

my $nginx = do {
    local $ENV{FANOUT_TEST_NOMEM} = "$dir/nomem";
    local $ENV{LD_PRELOAD} = "$dir/nomem.so";
    local $ENV{MALLOC_PERTURB_} = 165;

    Fanout::Nginx->start(
        workers => 1,
        level   => 'error',
        main    => 'env FANOUT_TEST_NOMEM; env LD_PRELOAD;',
        http    => 'fanout_zone app 16m;
                    fanout_channel app room* presence=on batch=1ms
                                       history=50;
                    fanout_channel app table* records=old locks=12h
                                              history=50;
                    fanout_channel app * history=50;',
        server  => $locations,
        servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on
                    $locations }",
    );
};

# what NGINX and the module say of it

$nginx->allow(qr{\b(?:m|re)alloc\(\d+\) failed}, qr/\bposix_memalign\(.*\) failed/,
              qr/out of memory/);

my ($pid) = $nginx->worker_pids;

open my $f, '>', $nginx->dir . '/html/file' or die "file: $!";
print $f 'x' x 3000;
close $f;


sub publish {
    my ($channel, $data) = @_;

    Fanout::HTTP->new(port => $nginx->port)
        ->post("/api/channels/$channel/messages", $data);
}


sub sessions {
    my $n = 0;
    my $r = Fanout::HTTP->new(port => $nginx->port)->get('/status');

    $n += $_->{sessions} for @{ Fanout::JSON::decode($r->{body})->{workers} };

    return $n;
}


publish($_, '"' . $_ x 900 . '"') for ('a', 'b', 'room') x 3;

my $bystander = $nginx->native(path => '/rt');
$bystander->ok('join', channel => 'bystander');
$bystander->ok('join', channel => 'table', want => []);
$bystander->ok('lock', channel => 'table', name => 'held', ttl => 12 * 3600e3);


# A client is cut, or told of an error, or not at all: all it needs to see is
# that.

my $patience = 0.5;

sub commands {
    my ($ws) = @_;

    my @all = (
        { op => 'join', channel => 'a', history => 10 },
        { op => 'join', channel => 'room', presence => 'x' x 100 },
        { op => 'history', channel => 'b', limit => 10 },
        { op => 'publish', channel => 'a', data => 'y' x 2000 },
        { op => 'signal', channel => 'a', data => 1 },
        { op => 'presence', channel => 'room', key => 'k', data => 2 },
        { op => 'members', channel => 'room' },
    );

    $ws->send_json([ @all ]);
    $ws->send_json($_) for @all;

    $ws->send_cmd('leave', channel => 'a');

    return $ws->reply($ws->send_cmd('ping'), $patience)->{ok};
}


my %by = (
    'WebSocket' => sub {
        my $ws = $nginx->native(path => '/rt?heartbeat=1',
                                timeout => $patience);
        my $ok = commands($ws);
        $ws->close;
        return $ok;
    },

    'WebSocket, compressed' => sub {
        my $ws = $nginx->native(path => '/auto', timeout => $patience,
                                deflate => 1);
        my $ok = commands($ws);
        $ws->disconnect;
        return $ok;
    },

    'records and locks' => sub {
        my $ws = $nginx->native(path => '/rt', timeout => $patience);
        my @all = map { { channel => 'table', %$_ } } (
            { op => 'join' },
            { op => 'set', record => 'r', set => { a => 'x' x 300, b => [] } },
            { op => 'set', record => 'r', base => 0, set => { a => 1 } },
            { op => 'set', record => 'r', append => { b => [1] } },
            { op => 'get', all => \1 },
            { op => 'get', record => 'r', versions => \1 },
            { op => 'history', record => 'r' },
            { op => 'lock', name => 'own', data => 'y' x 200 },
            { op => 'lock', name => 'held', wait => 9000 },
            { op => 'get', locks => \1 },
            { op => 'unlock', name => 'held' },
            { op => 'set', record => 'r', set => { a => 2 },
              release => 'own' },
            { op => 'delete', record => 'r' },
        );

        $ws->send_json([ @all ]);
        $ws->send_json($_) for @all;

        my $ok = $ws->reply($ws->send_cmd('ping'), $patience)->{ok};
        $ws->disconnect;

        return $ok;
    },

    'raw' => sub {
        my $ws = $nginx->ws(path => '/raw?channel=a', timeout => $patience);
        $ws->send_text('z' x 1000);
        my $text = $ws->recv_text($patience);
        $ws->close;
        return defined $text && $text eq 'z' x 1000;
    },

    'a stream' => sub {
        my $s = Fanout::Socket->open(port => $nginx->port);
        $s->send_bytes("GET /rt?channel=a&channel=b&history=9&join="
                       . '%7B%22channel%22:%22room%22,%22presence%22:'
                       . '%7B%22x%22:1%7D%7D HTTP/1.1' . "\r\nHost: x\r\n"
                       . "X-Requested-With: x\r\n\r\n");
        read_until($s, qr/"members"/);
        publish('a', '"told"');
        my $ok = read_until($s, qr/told/);
        $s->disconnect;
        return $ok;
    },

    'a stream by HTTP/2' => sub {
        my $c = Fanout::H2->connect(port => $nginx->port('PORT1'));
        $c->get(1, '/rt?channel=a&channel=b&history=9');
        $c->read_until(sub { $c->{body}{1} =~ /"ok".*"ok"/s || $c->{end}{1} },
                       $patience);
        publish('a', '"told"');
        $c->read_until(sub { $c->{body}{1} =~ /told/ || $c->{end}{1} },
                       $patience);
        $c->{s}->disconnect;
        return $c->{body}{1} =~ /told/;
    },

    'polls' => sub {
        my $h = Fanout::HTTP->new(port => $nginx->port);
        my $r = $h->get('/rt?poll=1&session=1&channel=a&channel=room',
                        timeout => $patience,
                        headers => { 'X-Requested-With' => 'x' });
        my ($token) = $r->{body} =~ /"resume":"(r_[0-9a-f]+)"/
            or return 0;
        $r = $h->get("/rt?poll=1&channel=a&timeout=0&since="
                     . $r->{headers}{'fanout-position'}, timeout => $patience,
                     headers => { 'Fanout-Resume' => $token });
        return $r->{body} eq "[]\n";
    },

    'POST' => sub {
        Fanout::HTTP->new(port => $nginx->port)->post('/rt',
            '[{"op":"publish","channel":"a","data":1,"id":1},'
            . '{"op":"history","channel":"a","limit":9,"id":2},'
            . '{"op":"members","channel":"room","id":3},{"op":"nonsense"}]',
            headers => { 'Content-Type' => 'application/json' },
            timeout => $patience)->{status} == 200;
    },

    'the API of records and locks' => sub {
        my $at = '/api/channels/table2';
        my $r;

        for ([ PUT    => '/records/r', '{"a":1,"b":[]}' ],
             [ PATCH  => '/records/r', '{"append":{"b":[1]}}' ],
             [ PATCH  => '/records/r?base=1', '{"set":{"a":2,"b":3}}' ],
             [ POST   => '/locks/x', '{"data":{"by":"cron"}}' ],
             [ GET    => '/locks' ],
             [ GET    => '/records/r' ],
             [ DELETE => '/locks/x' ],
             [ DELETE => '/records/r' ],
             [ GET    => '/records' ])
        {
            my ($method, $path, $body) = @$_;

            $r = Fanout::HTTP->new(port => $nginx->port)
                ->request($method, "$at$path", body => $body,
                          timeout => $patience);
        }

        return $r->{status} == 200;
    },

    'the API and broadcasts' => sub {
        my $h = Fanout::HTTP->new(port => $nginx->port);
        $h->post('/api/channels/a/messages', '"x"', timeout => $patience);
        $h->get('/api/channels/a/messages', timeout => $patience);
        $h->get('/api/channels', timeout => $patience);
        $h->get('/files/file', timeout => $patience);
        return $h->get('/files/file', timeout => $patience,
                       headers => { Range => 'bytes=0-1,3-9' })
                 ->{status} == 206;
    },
);


sub read_until {
    my ($s, $re) = @_;

    my $end = time + $patience + 1;

    until (${ $s->buffer } =~ $re || $s->eof || time > $end) {
        $s->fill($patience);
    }

    return ${ $s->buffer } =~ $re;
}


for my $name (sort keys %by) {
    subtest $name => sub {
        my ($n, $runs, $failed, $ok) = (0, 0, 1);

        while ($failed) {
            fail_at(++$n);
            $ok = eval { $by{$name}->() };
            (undef, $failed) = counted();
            fail_at(0);

            last if join(' ', $nginx->worker_pids) ne $pid;

            $runs++;
            $n += int $n / 8 if !$ENV{TEST_NOMEM_ALL};
        }

        ok($ok, 'as it should be when none fails') or diag($@);
        cmp_ok($runs, '>', 1, ($runs - 1) . ' allocations have failed');
        is(join(' ', $nginx->worker_pids), $pid, 'the worker lives');

        publish('bystander', $n);
        my $m = $bystander->next_where(sub { $_[0]{data} });
        is($m && $m->{data}, $n, 'and serves');
        ok(wait_for(sub { sessions() == 1 }), 'nothing is left')
            or diag(sessions());
    };
}

done_testing;
