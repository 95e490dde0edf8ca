package Fanout::Fuzz;

=head1 NAME

Fanout::Fuzz - rounds of random clients against one NGINX

=head1 SYNOPSIS

    use Fanout::Fuzz;

    my $fuzz = Fanout::Fuzz->new;

    $fuzz->run(sub { $fuzz->one_of(\&this, \&that)->() });

=head1 DESCRIPTION

C<new> starts an NGINX with every location that a client may meet: limits that
are reached soon, a zone that is full, a hook that refuses, answers late or not
at all, a dialect without permission, error pages that lead back, broadcasts of
files and of a cache.

C<run> calls the sub, each time with random numbers of its own, until FUZZ_TIME
seconds have passed (60), and looks after each whether the workers are those
that they were. Every few seconds a client that was there from the beginning
has to be told of a publish, now and then NGINX is reloaded, and at the end no
session may be left.

FUZZ_SEED is that of the first round, the others follow; a failure names the
round, so that FUZZ_SEED=that FUZZ_TIME=1 begins with it.

C<connect> opens a connection, C<write> sends to it, in pieces now and then, what
it takes, C<read_some> reads what is there, and C<close_some> ends some of
C<sockets>, in one way or another. C<join_and_post> is a client that works with
records and locks, and leaves the answers. C<token> gives a resume
token that some client was told, C<path> a target.

=cut

use strict;
use warnings;

use IO::Socket::INET;
use Socket qw( SOL_SOCKET SO_LINGER );
use Time::HiRes qw( sleep );

use Fanout::Elapsed qw( time );
use Fanout::JSON ();
use Fanout::Nginx;


my @channels = (qw( a b c full open summary one two ), 'user:ann:x',
                ('guarded') x 5);


sub new {
    my ($class, %o) = @_;

    $ENV{MALLOC_PERTURB_} = 165;

    my $version = `@{[ Fanout::Nginx::binary() ]} -V 2>&1`;
    my ($minor) = $version =~ m{nginx/1\.(\d+)};
    my ($listen, $on) = $minor >= 25 ? ('', 'http2 on;') : ('http2', '');

    my $locations = <<'END';
        root %%DIR%%/html;
        fanout_permit all *;
        fanout_user $arg_user;
        fanout_buffer 16k;
        fanout_message_size 8k;
        fanout_history 50;
        fanout_retry 50ms;
        location /rt { fanout app; }
        location /one { fanout app; fanout_sessions_per_user 1; }
        location /few { fanout app; fanout_sessions 2; }
        location /full { fanout full; }
        location /hooked { fanout hooked; }
        location /auto {
            fanout app;
            fanout_autojoin a two user:$fanout_user none:$arg_x;
        }
        location /raw { fanout app; fanout_dialect raw; }
        location /denied { fanout app; fanout_permit join none;
                           fanout_origin https://example.com; }
        location /back { fanout full; error_page 507 503 =200 /rt?poll=1; }
        location /ping { fanout app; fanout_ping 200ms; fanout_timeout 200ms;
                         fanout_poll_timeout 1s; }
        location /gone { fanout app; fanout_resume 0; }
        location /api/ { fanout_api app; }
        location /files/ { alias %%DIR%%/html/;
                           fanout_broadcast app a methods=any status=any; }
        location /cached/ {
            proxy_pass http://127.0.0.1:%%PORT%%/files/;
            proxy_cache files;
            proxy_cache_valid any 1s;
            proxy_force_ranges on;
            fanout_broadcast app b methods=any status=any;
        }
        location = /hook {
            internal;
            limit_req zone=seldom burst=100;
            proxy_pass http://127.0.0.1:%%PORT%%/status;
        }
        location = /status { fanout_status app; }
END

    my $nginx = Fanout::Nginx->start(
        workers => 2,
        level   => 'error',
        http    => 'limit_req_zone $uri zone=seldom:1m rate=20r/s;
                    fanout_zone app 16m slots=64;
                    fanout_zone full 2m;
                    fanout_zone hooked 2m;
                    fanout_channel hooked * history=10;
                    fanout_channel app summary presence=summary;
                    fanout_channel app one presence=on members=1;
                    fanout_channel app guarded history=20 presence=on
                        records=full locks=2s guard=on fields=5 record=4k
                        records_max=9 records_ttl=2s;
                    fanout_channel app open history=10 publish=any;
                    fanout_channel app * history=20 presence=on batch=20ms
                        records=old locks=1s;
                    proxy_cache_path %%DIR%%/cache keys_zone=files:1m;',
        server  => 'fanout_hook hooked /hook publish timeout=200ms;'
                   . $locations,
        servers => "server { listen 127.0.0.1:%%PORT1%% $listen; $on
                    $locations }",
        stop    => 'quit',
        %o,
    );

    my $dir = $nginx->dir;

    for (['short', 8], ['long', 100_000], ['page.html', 1040]) {
        open my $f, '>', "$dir/html/$_->[0]" or die "$_->[0]: $!";
        print $f 'x' x $_->[1];
    }

    return bless { nginx => $nginx, sockets => [], tokens => [] }, $class;
}


sub nginx { $_[0]{nginx} }


sub run {
    my ($self, $round) = @_;

    my $seed  = $ENV{FUZZ_SEED} || time % 1e9 * 1000;
    my $end   = time + ($ENV{FUZZ_TIME} || 60);
    my $nginx = $self->{nginx};
    my $first = $seed = int $seed;
    my $said  = 0;
    my $told  = 0;

    my $reloaded  = time;
    my $bystander = $self->bystander;

    my $workers = join ' ', $nginx->worker_pids;

    while (time < $end || $seed == $first) {
        srand $seed;
        $self->{seed} = $seed;

        $round->();

        if (join(' ', $nginx->worker_pids) ne $workers) {
            fail("round $seed: a worker died");
            last;
        }

        if (time - $reloaded >= 15) {
            $reloaded = time;
            $nginx->reload;
            $bystander->disconnect;
            $bystander = $self->bystander;
            $workers = join ' ', $nginx->worker_pids;
        }

        if (time - $said >= 2) {
            $said = time;
            $told++;

            if (!$self->bystander_told($bystander, $told)) {
                fail("round $seed: a bystander is not told");
                last;
            }
        }

        $seed++;
    }

    ok($seed > $first, 'rounds ' . $first . ' to ' . ($seed - 1));

    close $_ for @{ $self->{sockets} };
    $self->{sockets} = [];
    $bystander->disconnect;

    ok(wait_for(sub { $self->sessions == 0 }, 30), 'no session is left')
        or diag($self->sessions . ' are');
}


sub bystander {
    my ($self) = @_;

    my $c = $self->{nginx}->native(path => '/rt');
    $c->ok('join', channel => 'bystander');

    return $c;
}


sub bystander_told {
    my ($self, $bystander, $n) = @_;

    $self->{nginx}->http->post('/api/channels/bystander/messages', $n);

    return eval {
        $bystander->next_where(sub { ($_[0]{data} || 0) eq $n });
        $bystander->ok('ping');
        1;
    };
}


sub sessions {
    my ($self) = @_;

    my $r = eval { $self->{nginx}->http->get('/status') } or return -1;
    my $n = 0;

    $n += $_->{sessions} for @{ Fanout::JSON::decode($r->{body})->{workers} };

    return $n;
}


# random things

sub below  { int rand $_[1] }
sub chance { rand() < $_[1] }
sub one_of { my $self = shift; $_[rand @_] }

sub bytes { join '', map { chr int rand 256 } 1 .. $_[1] }


sub channel { $channels[rand @channels] }


sub token {
    my ($self) = @_;

    my $tokens = $self->{tokens};

    return @$tokens && $self->chance(0.9)
           ? $tokens->[rand @$tokens] : 'r_' . '0' x 48;
}


sub learn {
    my ($self, $bytes) = @_;

    push @{ $self->{tokens} }, $bytes =~ /"resume":"(r_[0-9a-f]{48})"/g;
    splice @{ $self->{tokens} }, 0, -8 if @{ $self->{tokens} } > 8;
}


sub path {
    my ($self, @add) = @_;

    my $path = $self->one_of(qw( /rt /rt /rt /one /few /full /hooked /auto
                                 /raw /denied /back /ping /gone ));
    my @args = (@add, 'user=' . $self->one_of('ann', 'bob', '', 'x' x 300));

    for (0 .. $self->below(3)) {
        push @args, 'channel=' . $self->channel;
    }

    push @args, 'join=' . escape(sprintf '{"channel":"%s"%s}',
                                 $self->channel,
                                 $self->one_of('', ',"presence":{"x":1}',
                                               ',"history":9'))
        if $self->chance(0.3);
    push @args, 'poll=1' if $self->chance(0.4);
    push @args, 'session=1' if $self->chance(0.6);
    push @args, 'history=' . $self->below(60) if $self->chance(0.3);
    push @args, 'timeout=' . $self->below(3) if $self->chance(0.5);
    push @args, 'resume=' . $self->token if $self->chance(0.4);
    push @args, 'since=' . $self->one_of('0.0', '1.1.a-5', 'nothing',
                                         'ffffffffffffffff.1')
        if $self->chance(0.2);
    push @args, 'heartbeat=1' if $self->chance(0.2);

    return $path . '?' . join '&', @args;
}


sub escape {
    my ($s) = @_;

    $s =~ s/([^A-Za-z0-9._~-])/sprintf '%%%02x', ord $1/ge;

    return $s;
}


# one, or an array of them

sub commands {
    my ($self) = @_;

    my @c = map { $self->command } 0 .. $self->one_of(0, 0, 0, 2, 9);

    return @c == 1 && $self->chance(0.9) ? $c[0] : '[' . join(',', @c) . ']';
}


sub command {
    my ($self) = @_;

    my $channel = $self->channel;
    my $id = $self->chance(0.7) ? ',"id":' . $self->below(100) : '';

    return sprintf $self->one_of(
        '{"op":"join","channel":"%s"%s}',
        '{"op":"join","channel":"%s","history":20,"presence":{"x":7}%s}',
        '{"op":"join","channel":"%s","want":["presence"],"key":"k"%s}',
        '{"op":"leave","channel":"%s"%s}',
        '{"op":"publish","channel":"%s","data":"' . 'x' x $self->below(3000)
            . '"%s}',
        '{"op":"publish","channel":"%s","data":1,"key":"k"%s}',
        '{"op":"publish","channel":"%s","data":1,"to":{"user":"ann"}%s}',
        '{"op":"signal","channel":"%s","data":1%s}',
        '{"op":"history","channel":"%s","limit":20%s}',
        '{"op":"members","channel":"%s"%s}',
        '{"op":"presence","channel":"%s","key":"k","data":{"x":1}%s}',
        '{"op":"presence","channel":"%s","data":null%s}',
        $self->record_command,
        $self->lock_command,
        '{"op":"nonsense","channel":"%s"%s}',
        '{"op":"ping","x":"%s"%s}',
        '%s%s{{{',
    ), $channel, $id;
}


# of a few records and fields, so that they meet

sub record_command {
    my ($self) = @_;

    my $record = ',"record":"r' . $self->below(3) . '"';
    my $base   = $self->one_of('', ',"base":' . $self->below(9));
    my $rest   = $base . $self->one_of('', '', ',"key":"k"', ',"token":7',
                                       ',"release":"r1.f0"',
                                       ',"mode":"overwrite"',
                                       ',"create":true');
    my $field  = '"f' . $self->below(7) . '"';
    my $text   = '"' . 'x' x $self->below(3000) . '"';

    return '{"op":' . $self->one_of(
        qq("set","channel":"%s"$record$rest,"set":{$field:$text}%s}),
        qq("set","channel":"%s"$record$rest,"set":{$field:[1],"f9":2}%s}),
        qq("set","channel":"%s"$record$rest,"append":{$field:[1,$text]}%s}),
        qq("set","channel":"%s"$record$rest,"unset":[$field]%s}),
        qq("delete","channel":"%s"$record$base%s}),
        qq("get","channel":"%s"$record,"versions":true%s}),
        '"get","channel":"%s","prefix":"r","cursor":"0"%s}',
        '"get","channel":"%s","all":true,"locks":true%s}',
        qq("history","channel":"%s"$record,"limit":5%s}),
        '"join","channel":"%s","want":["records","locks"]%s}',
    );
}


sub lock_command {
    my ($self) = @_;

    my $name = ',"name":"r' . $self->below(3)
               . $self->one_of('', '.f0', '.f1') . '"';

    return '{"op":' . $self->one_of(
        qq("lock","channel":"%s"$name%s}),
        qq("lock","channel":"%s"$name,"ttl":300,"wait":500%s}),
        qq("lock","channel":"%s"$name,"wait":2000,"data":{"x":1}%s}),
        qq("unlock","channel":"%s"$name%s}),
        qq("unlock","channel":"%s"$name,"token":5%s}),
    );
}


# A client that does all right: it has an event stream, and posts what may be
# done to records and locks.

sub join_and_post {
    my ($self, $n) = @_;

    my $s   = $self->connect('PORT') or return;
    my $all = '';

    $self->write($s, "GET /rt?session=1&channel=guarded HTTP/1.1\r\nHost: x\r\n"
                     . "Accept: text/event-stream\r\n"
                     . "X-Requested-With: x\r\n\r\n");

    for (1 .. 20) {
        sleep 0.002;
        $all .= $self->read_some($s);
        last if $all =~ /"resume":"(r_[0-9a-f]{48})"/;
    }

    my ($token) = $all =~ /"resume":"(r_[0-9a-f]{48})"/ or return;

    $s = $self->connect('PORT') or return;

    for (1 .. $n) {
        my $body = sprintf $self->one_of($self->record_command,
                                         $self->lock_command),
                           'guarded', ',"id":1';

        $self->write($s, "POST /rt HTTP/1.1\r\nHost: x\r\n"
                         . "X-Requested-With: x\r\nFanout-Resume: $token\r\n"
                         . "Content-Type: application/json\r\n"
                         . 'Content-Length: ' . length($body)
                         . "\r\n\r\n$body");
    }
}


# connections

sub connect {
    my ($self, $port) = @_;

    my $s = IO::Socket::INET->new(
        PeerAddr => '127.0.0.1', PeerPort => $self->{nginx}->port($port),
        Proto    => 'tcp', Timeout => 5,
    ) or return undef;

    $s->blocking(0);

    push @{ $self->{sockets} }, $s;
    $self->close_some(1) if @{ $self->{sockets} } > 40;

    return $s;
}


sub sockets { $_[0]{sockets} }


# What doesn't fit is left out: these clients are no better than that.

sub write {
    my ($self, $s, $bytes) = @_;

    return if !defined fileno $s;

    while ($self->chance(0.1) && length $bytes > 1) {
        my $n = 1 + $self->below(length($bytes) - 1);

        syswrite $s, substr $bytes, 0, $n, '';
        sleep 0.001 * $self->below(10);
    }

    syswrite $s, $bytes;
}


sub read_some {
    my ($self, $s) = @_;

    my $all = '';

    return $all if !defined fileno $s;

    while (length $all < 1_000_000) {
        my $n = sysread $s, $all, 65536, length $all;
        last if !$n;
    }

    $self->learn($all);

    return $all;
}


# plainly, half, or by a reset

sub close_some {
    my ($self, $n) = @_;

    for (1 .. $n) {
        my $sockets = $self->{sockets};

        return if !@$sockets;

        my ($s) = splice @$sockets, rand @$sockets, 1;

        if ($self->chance(0.3)) {
            shutdown $s, 1;
            $self->read_some($s);

        } elsif ($self->chance(0.5)) {
            setsockopt $s, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0;
        }

        close $s;
    }
}


sub publish {
    my ($self) = @_;

    my $s = $self->connect('PORT') or return;
    my $data = '"' . 'x' x $self->below(5000) . '"';

    $self->write($s, 'POST /api/channels/' . escape($self->channel)
                     . "/messages HTTP/1.1\r\nHost: x\r\nContent-Type:"
                     . " application/json\r\nContent-Length: "
                     . length($data) . "\r\nConnection: close\r\n\r\n$data");
}


sub pause { sleep 0.001 * $_[0]->one_of(0, 0, 1, 5, 20) }


1;
