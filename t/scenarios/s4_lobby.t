#!/usr/bin/env perl

=head1 NAME

s4_lobby.t - scenario 4: a lobby, and messages to who is in it

=head1 WHAT BREAKS

Everybody sees who is online, picks somebody and writes to him. If this fails,
a list shows ghosts or misses people after some hours of coming and going, a
train through a tunnel makes half of the lobby flicker, or a message goes to
somebody who has just left, and nobody says so.

=head1 THE TEAM'S CONFIGURATION

One channel that all join with C<presence>; direct messages by C<to>.

    fanout_channel app lobby  presence=on linger=10s batch=50ms
                              history=100 ttl=1h;

C<lobby:quick>, C<lobby:churn> and C<lobby:crowd> are the same with other
values of C<linger> and C<batch>, so that no line has to wait for another's.
Two workers, and members of each of them in every line.

=head1 THE LINES

Each line of the scenario's table is a subtest, named after it. What the client
does is done by Fanout::App, in line 5 also by the page of the quickstart in a
Chromium, in line 6 by the programs of docs/clients.md.

How long it takes from a join to the last of 1,000 who sees it can't be told by
one process that plays them all: that is a figure of the benchmark
(docs/benchmarks.md). What a test can say is who is told, of what, and in how
many bytes. Line 2 is done here for one lobby; t/presence_model.t does it with
stopped workers, half-open connections and several members of a client as well.

=cut

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../lib";

use Time::HiRes qw( time );

use Fanout::App;
use Fanout::JSON;
use Fanout::Nginx;
use Fanout::Quickstart;
use Fanout::Tabs;


my $root = "$FindBin::Bin/../..";

my $nginx = Fanout::Nginx->start(
    http => <<'END',
        fanout_zone app 64m;

        fanout_channel app lobby:quick  presence=on linger=1s  batch=50ms
                                        history=100 ttl=1h;
        fanout_channel app lobby:churn* presence=on linger=2s  batch=5ms;
        fanout_channel app lobby*       presence=on linger=10s batch=50ms
                                        history=100 ttl=1h;
END
    server => <<'END',
        location /lobby {
            fanout          app;
            fanout_user     $arg_user;
            fanout_permit   all lobby*;
            fanout_resume   1m;
            fanout_drain    1s;
            fanout_sessions 2000;
        }

        location /fanout/  { fanout_api app; allow 127.0.0.1; deny all; }
        location = /status { fanout_status app; }
END
);

my ($one, $two) = $nginx->worker_pids;
my $http = $nginx->http;
my @apps;


sub app {
    my ($user, %o) = @_;

    my $app = Fanout::App->new($nginx, path => "/lobby?user=$user", %o);

    push @apps, $app;

    return $app;
}


sub member {
    my ($at, $user, %o) = @_;

    my $app = app($user, %o);

    $app->mount($at, presence => {})
        or die "$user: ", $app->error // $app->channel_error($at);

    return $app;
}


sub shown {
    my ($app, $at) = @_;

    return join ' ', sort map { $_->{user} } values %{ $app->list($at) };
}


sub same {
    my ($apps, $at, $want, $name) = @_;

    Fanout::App::settle($apps, sub { !grep { shown($_, $at) ne $want } @$apps });
    is(join(' | ', map { shown($_, $at) } @$apps),
       join(' | ', ($want) x @$apps), $name);
}


sub heard {
    my ($app, $at, $kind) = @_;

    my @told;

    Fanout::App::settle([ $app ], sub {
        push @told, $app->told($at, $kind);
        return @told;
    });

    return @told;
}


sub api_list {
    my ($at) = @_;

    my (@members, $cursor);

    do {
        my $r = $http->get('/fanout/channels/' . ($at =~ s/:/%3A/r)
                           . '/presence?limit=1000'
                           . ($cursor ? "&cursor=$cursor" : ''))->json;

        push @members, @{ $r->{members} };
        $cursor = $r->{cursor};
    } while ($cursor);

    return join ' ', sort map { $_->{client} } @members;
}

sub ids { join ' ', sort map { $_->{client} } values %{ $_[0]->list($_[1]) } }

sub code { $_[0]{error} ? $_[0]{error}{code} : 'no error' }


sub faultless {
    my @faults = map { $_->faults } @apps;

    is_deeply([ splice @faults, 0, 10 ], [], 'nobody was told what can not be');
    $_->close for grep { $_->connected } splice @apps;
}


# A delta's text without what is a number, an id or a name

sub shape {
    my ($text) = @_;

    $text =~ s/"c_[0-9a-f]+"/"c"/g;
    $text =~ s/"user":"[^"]*"/"user":""/g;
    $text =~ s/\d+/0/g;

    return $text;
}


subtest 'line 1: joins and leaves are pushed to all, as deltas, whose size does'
    . ' not depend on the lobby' => sub
{
    my $at   = 'lobby:crowd';
    my $size = $ENV{TEST_SANITIZE} ? 200 : 1000;
    my (%shape, %length, @took);

    my $told = sub {
        my ($text, $n, $kind) = @_;

        push @{ $shape{$kind} }, shape($text);
        push @{ $length{$kind} }, length $text;
    };

    # Somebody comes and goes. Nobody asks: not a byte is sent by those who
    # are told.

    my $visit = sub {
        my ($n, $who) = @_;

        my $all   = $n > 100 ? 10 : 3;
        my %count = (joined => 0, left => 0);

        for my $i (1 .. $all) {
            my $began = time;
            my $guest = member($at, sprintf('guest%02d', $i),
                               worker => $i % 2 ? $one : $two, quiet => 1);
            my $id    = $guest->client . '/';

            $count{joined}++ if Fanout::App::settle($who, sub {
                !grep { !$_->list($at)->{$id} } @$who;
            });
            push @took, 1000 * (time - $began) if $n > 100;
            $told->($who->[-1]->wire->{last}, $n, 'joined');

            $guest->close;
            $count{left}++ if Fanout::App::settle($who, sub {
                !grep { $_->list($at)->{$id} } @$who;
            });
            $told->($who->[-1]->wire->{last}, $n, 'left');
            pop @apps;
        }

        is($count{joined}, $all, "each of $n sees each of $all come");
        is($count{left}, $all, 'and go');
    };

    my @crowd = map {
        member($at, sprintf('user%04d', $_), worker => $_ % 2 ? $one : $two,
               quiet => 1)
    } 1 .. 10;

    Fanout::App::settle(\@crowd, sub { !grep { $_->count($at) != 10 } @crowd });
    $visit->(10, \@crowd);

    # the others come without asking for the list, which they get later: it is
    # then the same for all of them

    my @more = map {
        app(sprintf('user%04d', $_), quiet => 1)
    } 11 .. $size;

    for my $app (@more) {
        $app->open or die $app->error;
        $app->of($at)->{join} = { presence => {}, want => ['messages'] };
        $app->join($at, 1);
    }

    my $there = sub {
        my ($app) = @_;
        return $app->channel_state($at) eq 'attached';
    };

    Fanout::App::settle(\@more, sub { !grep { !$there->($_) } @more }, 60);
    Fanout::App::settle(\@crowd, sub { $crowd[0]->count($at) == $size }, 60);

    for my $app (@more) {
        delete $app->of($at)->{join}{want};
        $app->join($at, 1);
    }

    push @crowd, @more;

    ok(Fanout::App::settle(\@crowd, sub {
        !grep { $_->count($at) != $size } @crowd
    }, 60), "$size are in the lobby, and each sees $size");

    my %of;
    $of{$_} += $http->get('/status')->json->{workers}[$_]{sessions} // 0
        for 0, 1;
    cmp_ok($of{$_}, '>=', $size / 10, "some of them on worker $_") for 0, 1;

    my $sent = sub {
        my $sum = 0;
        $sum += length($_->wire->{last} // '') for @crowd;
        return $sum;
    };

    $visit->($size, \@crowd);

    for my $kind (qw( joined left )) {
        my %kinds = map { $_ => 1 } @{ $shape{$kind} };
        my ($few, @many) = sort { $a <=> $b } @{ $length{$kind} };

        is(keys %kinds, 1, "$kind: the same words with 10 and with $size")
            or diag(join "\n", sort keys %kinds);
        cmp_ok($many[-1] - $few, '<=', 12, 'a few digits apart');

        my $p = Fanout::JSON::decode((keys %kinds)[0])->{presence};

        is_deeply([ keys %$p ], [ $kind ], "only who has $kind");
        is(@{ $p->{$kind} }, 1, 'which is one');
    }

    cmp_ok($sent->() / $size, '<', 400, 'some 200 bytes each');

    @took = sort { $a <=> $b } @took;
    note(sprintf 'a join was seen by all %d after %.0f to %.0f ms, with one'
                 . ' process that reads for all', $size, @took[0, -1]);

    is(ids($crowd[-1], $at), api_list($at), 'which is the list of the server');

    faultless();
};


subtest 'line 2: after churn, dead workers and reloads all lists are the'
    . " server's" => sub
{
    my $at    = 'lobby:churn';
    my $seed  = $ENV{SEED} // int(time * 1000) % 2 ** 31;
    my $steps = $ENV{TEST_SANITIZE} ? 800 : 3000;
    my @all   = map { app("u$_") } 1 .. 40;
    my %count;

    srand $seed;
    note("SEED=$seed");

    my $enter = sub {
        my ($app) = @_;

        $app->of($at)->{join} = { presence => {} };
        return $app->join($at, 1) if $app->connected;
        $app->of($at)->{state} = 'detached';
        return if !$app->open;
        $app->join($at, 1);
    };

    my $in = sub { $_[0]->connected && $_[0]->channel_state($at) ne 'detached' };

    for my $step (1 .. $steps) {
        my $app  = $all[rand @all];
        my $dice = rand;

        $app->pump;

        if (!$app->connected) {
            # back with the token, or as somebody new

            if ($dice < 0.3) {
                delete @$app{qw( resume client )};
                $app->{channels} = {};
            }
            $count{ $app->{resume} ? 'back' : 'new' }++;
            $enter->($app);

        } elsif (!$in->($app)) {
            $count{join}++;
            $enter->($app);

        } elsif ($app->channel_state($at) ne 'attached') {
            $count{wait}++;

        } elsif ($dice < 0.45) {
            $app->update($at, { n => $step });
            $count{update}++;

        } elsif ($dice < 0.75) {
            $app->unmount($at);
            $app->tick;
            $count{leave}++;

        } elsif ($dice < 0.88) {
            $app->cut;
            $count{cut}++;

        } else {
            $app->close;
            $count{close}++;
        }

        if ($step % ($steps / 4) == 0 && $step < $steps) {
            if ($step == $steps / 2) {
                $nginx->reload;
                $count{reload}++;

            } else {
                my @pids = $nginx->worker_pids;

                $nginx->kill_worker($pids[rand @pids]);
                $count{kill}++;
            }
        }

        if ($step % 10 == 0) {
            $_->pump for @all;
        }
    }

    note(join ', ', map { "$count{$_} $_" } sort keys %count);

    # Those who are connected stay, the others have gone for good. A worker
    # that is shutting down has told its own to come back elsewhere.

    my (%seen, $server, @here);

    my $settled = Fanout::App::settle(\@all, sub {
        for my $app (@all) {
            $app->open if $app->state eq 'disconnected' && $app->{resume}
                          && $in->($app);
        }

        @here = grep { $in->($_)
                       && $_->channel_state($at) eq 'attached' } @all;
        return 0 if $nginx->stopping_pids || grep {
            $in->($_) && $_->channel_state($at) ne 'attached' } @all;

        $server = api_list($at);
        %seen   = map { ids($_, $at) => 1 } @here;

        return keys %seen == 1 && $seen{$server}
            && $server eq join ' ', sort map { $_->client } @here;
    }, 30);

    ok($settled, "$steps steps later all see the same, and the server too")
        or diag(Fanout::JSON::encode([ $server, sort keys %seen ]));
    cmp_ok(scalar @here, '>=', 5, 'there are some to see it');
    is($server, join(' ', sort map { $_->client } @here),
       'who is there is listed, and nobody else');

    for my $worker ($nginx->worker_pids) {
        my $fresh = app('fresh', worker => $worker);

        ok($fresh->mount($at), 'who comes now');
        is(ids($fresh, $at), $server, "sees that, on worker $worker");
    }

    cmp_ok($count{kill}, '==', 2, 'two workers died');
    cmp_ok($count{reload}, '==', 1, 'NGINX was reloaded');
    cmp_ok($count{cut}, '>', $steps / 100, 'connections broke');

    ($one, $two) = $nginx->worker_pids;
    faultless();
};


subtest 'line 3: a message to somebody who has just left is refused' => sub {
    my $at  = 'lobby:quick';
    my $ann = member($at, 'ann', worker => $one);

    my %ends = (
        'who left the lobby'        => sub { $_[0]->unmount($at); $_[0]->tick },
        'who closed the page'       => sub { $_[0]->close },
        'who was cut and stays out' => sub { $_[0]->cut },
    );

    for my $how (sort keys %ends) {
        for my $worker ($one, $two) {
            my $bob = member($at, 'bob', worker => $worker);
            my $id  = $bob->client;

            Fanout::App::settle([ $ann ], sub { $ann->users($at)->{bob} });

            my $r = $ann->say($at, 'psst', to => { client => $id });
            is($r->{ok}{delivered}, 1, 'somebody who is there gets it');
            is((heard($bob, $at, 'message'))[0][1]{data}, 'psst', 'he does');

            $ann->told($at);
            $ends{$how}->($bob);

            my ($left) = heard($ann, $at, 'left');
            is($left && $left->[1]{client}, $id, "$how is seen to be gone");

            for my $to ({ client => $id }, { user => 'bob' }) {
                $r = $ann->say($at, 'too late', to => $to);
                is(code($r), 'recipient_offline', 'a message to him is refused');
                ok(length $r->{error}{message}, 'in words too');
            }

            $bob->close if $bob->connected;
        }
    }

    # "Just": he says that he leaves, and the sender, whose list has him still,
    # writes at that moment. It is one or the other: what was refused he never
    # gets, and what is said once he has left is refused, list or not.

    my %result = map { $_ => 0 } qw( delivered refused both after );

    for my $i (1 .. 40) {
        my $bob   = member($at, "bob$i", worker => $i % 2 ? $one : $two);
        my %to    = (to => { client => $bob->client });
        my $leave = $bob->put('leave', channel => $at);
        my $r     = $ann->say($at, "race $i", %to);

        $bob->wire->reply($leave);
        $result{after}++
            if code($ann->say($at, 'after', %to)) eq 'recipient_offline';
        $bob->wire->ok('ping');

        my $got = grep { $_->[0] eq 'message' } $bob->told($at);
        my $ok  = $r->{ok} && $r->{ok}{delivered} == 1;

        $result{delivered}++ if $ok;
        $result{refused}++ if code($r) eq 'recipient_offline';
        $result{both}++ if $got && !$ok;
        $bob->close;
    }

    note(Fanout::JSON::encode(\%result));
    is($result{delivered} + $result{refused}, 40, 'each has one answer');
    is($result{both}, 0, 'what was refused he did not get');
    is($result{after}, 40, 'after he has left each is refused');

    # Somebody in a tunnel has not left: it waits for him, if the sender wants

    $at = 'lobby';

    my $cat = member($at, 'cat', worker => $one);
    my $dan = member($at, 'dan', worker => $two);
    my $id  = $dan->client;

    $dan->cut;
    ok(wait_for(sub {
        my $r = $http->get("/fanout/clients/$id");
        $r->{status} == 200 && $r->json->{state} eq 'lingers';
    }), 'he is in a tunnel');

    my $r = $cat->say($at, 'now', to => { client => $id },
                      live => Fanout::JSON::true);
    is(code($r), 'recipient_offline', 'live: he is not there now');

    $r = $cat->say($at, 'when you are back', to => { client => $id });
    is_deeply([ @{ $r->{ok} || {} }{qw( delivered pending )} ], [ 0, 1 ],
              'else it is pending');
    ok($dan->open(worker => $one), 'he is back');
    is((heard($dan, $at, 'message'))[0][1]{data}, 'when you are back',
       'and has it');

    # nobody else has seen any of it

    is_deeply([ map { $_->[1]{data} } $cat->told($at, 'message') ], [],
              'the sender does not hear it');
    is_deeply($http->get("/fanout/channels/$at/messages")->json->{messages},
              [], 'nor history');

    faultless();
};


subtest 'line 4: brief disconnections are not seen' => sub {
    my $at    = 'lobby';
    my @watch = map { member($at, "watch$_",
                             worker => $_ == 1 ? $one : $two) } 1, 2;
    my @train = map { member($at, "train$_",
                             worker => $_ % 2 ? $one : $two) } 1 .. 20;
    my $all   = shown($train[-1], $at);

    same([ @watch, @train ], $at, $all, 'all are there');

    my $quiet = sub {
        my ($name, @eyes) = @_;

        for my $app (@eyes) {
            $app->wire->ok('ping');
            $app->pump;
        }
        is_deeply([ map { "$_->[0] $_->[1]{user}" }
                    grep { $_->[0] =~ /^(?:joined|updated|left)$/ }
                    map { $_->told($at) } @eyes ], [], $name);
    };

    $_->told($at) for @watch, @train;
    my $offset = $watch[0]->offset($at);

    # a tunnel, then another, for all of them at once

    for my $tunnel (1, 2) {
        $_->cut for @train;
        $quiet->('while they are away', @watch);
        is(shown($watch[0], $at), $all, 'they are in the list');
        my @back = grep { $_->open(worker => 0) } @train;
        is(@back, 20, 'all come back');
        $quiet->('and then', @watch);
    }

    same([ @watch, @train ], $at, $all, 'all lists are as before');
    is($watch[0]->offset($at), $offset, 'nothing was written about it');

    # a worker dies under half of them

    $nginx->kill_worker($two);
    ($two) = grep { $_ != $one } $nginx->worker_pids;

    ok(wait_for(sub {
        $_->pump for @watch, @train;
        $_->open for grep { !$_->connected } @watch, @train;
        return !grep { !$_->connected } @watch, @train;
    }, 10), 'a worker dies; its clients come back');

    $quiet->('nobody has seen that', @watch);
    same([ @watch, @train ], $at, $all, 'all lists are as before');

    # who stays away is not kept for ever, nor before his time

    $at = 'lobby:quick';

    my $eye = member($at, 'eye', worker => $one);
    my $off = member($at, 'off', worker => $two);

    same([ $eye ], $at, 'eye off', 'two');
    $off->cut;
    same([ $eye ], $at, 'eye', 'who stays away leaves');
    my ($left) = $eye->told($at, 'left');
    is($left && $left->[1]{reason}, 'network', 'for the network');

    faultless();
};


subtest 'line 5: when who is selected leaves one is told, and the selection is'
    . ' cleared' => sub
{
    my $at  = 'lobby:quick';
    my $ann = member($at, 'ann', worker => $one);
    my $bob = member($at, 'bob', worker => $two);
    my $cat = member($at, 'cat', worker => $one);
    my $tel = member($at, 'bob', worker => $one);

    same([ $ann ], $at, 'ann bob bob cat', 'bob is there twice');
    $ann->choose($at, 'bob');

    $cat->close;
    same([ $ann ], $at, 'ann bob bob', 'somebody else leaves');
    is($ann->chosen($at), 'bob', 'the selection stays');

    $tel->close;
    same([ $ann ], $at, 'ann bob', 'one of his devices leaves');
    is($ann->chosen($at), 'bob', 'he is still there');

    $bob->cut;
    $bob->open;
    $ann->wire->ok('ping');
    $ann->pump;
    is($ann->chosen($at), 'bob', 'nor does a tunnel clear it');

    $ann->told($at);
    $bob->close;
    my ($gone) = heard($ann, $at, 'gone');
    is($gone && $gone->[1]{user}, 'bob', 'he leaves: one is told');
    is($gone && $gone->[1]{reason}, 'intentional', 'and why');
    is($ann->chosen($at), undef, 'the selection is cleared');

    # he leaves while one is away oneself

    $bob = member($at, 'bob', worker => $two);
    same([ $ann ], $at, 'ann bob', 'bob is here again');
    $ann->choose($at, 'bob');
    $ann->told($at);
    $ann->cut;
    $bob->close;
    ok($ann->open, 'back');
    ($gone) = heard($ann, $at, 'gone');
    is($gone && $gone->[1]{user}, 'bob', 'one is told then');
    is($ann->chosen($at), undef, 'and the selection cleared');

    faultless();

    # the page of the quickstart does so

    (my $conf = quickstart()) =~ s/linger=5s/linger=1s/ or die 'no linger';
    my $quick = Fanout::Nginx->start(conf => $conf);
    my $tabs  = Fanout::Tabs->start;
    my $here  = '#people li:not(.gone)';

    for my $who ('ann', 'bob') {
        $tabs->open($who, $quick->uri('/'));
        ok($tabs->wait($who, '#state', 'connected'), "$who has the page open");
    }

    ok(wait_for(sub { @{ $tabs->texts('ann', "$here:not(.you)") } == 1 }),
       'ann sees bob');
    $tabs->click('ann', "$here:not(.you) button");
    is(scalar @{ $tabs->texts('ann', "$here.chosen") }, 1, 'and selects him');

    $tabs->close('bob');
    ok($tabs->wait('ann', '#log .note', 'left'), 'he leaves: she is told');
    is(scalar @{ $tabs->texts('ann', "$here.chosen") }, 0,
       'nobody is selected');
    is($tabs->evaluate('ann', 'String(whisperTo)'), 'null',
       'what she says next is for all');
};


# A program of docs/clients.md joins, is told, and leaves. It is compiled and
# run as it stands there.

sub program {
    my ($language) = @_;

    my $text = Fanout::Nginx::slurp("$root/docs/clients.md");
    my ($code) = $text =~ /^```\Q$language\E\n(.*?)^```$/ms
        or die "docs/clients.md has no $language";

    return $code;
}


sub lines_of {
    my ($out, $want) = @_;

    my $seen;

    wait_for(sub {
        $seen = Fanout::Nginx::slurp($out);
        return $seen =~ $want;
    }, 20);

    return $seen;
}


sub runs {
    my ($name, @command) = @_;

    my $at  = 'lobby:quick';
    my $out = $nginx->dir . "/$name.out";
    my $ann = member($at, 'ann', worker => $one);

    my $pid = fork // die "fork: $!";

    if (!$pid) {
        open STDOUT, '>', $out or die;
        open STDERR, '>&', \*STDOUT;
        open STDIN, '<', '/dev/null';
        Fanout::Nginx::die_with_parent();
        exec @command, 'ws://127.0.0.1:' . $nginx->port . "/lobby?user=$name"
            or POSIX::_exit(127);
    }

    my ($joined) = heard($ann, $at, 'joined');
    same([ $ann ], $at, "ann $name", "$name: it is in the lobby")
        or diag(lines_of($out, qr/./));

    like(lines_of($out, qr/here: .*ann/), qr/here: .*ann/, 'and has the list');

    my $bob = member($at, 'bob', worker => $two);
    like(lines_of($out, qr/joined: bob/), qr/joined: bob/, 'sees a join');
    $bob->close;
    like(lines_of($out, qr/left: bob \(intentional\)/),
         qr/left: bob \(intentional\)/, 'and a leave');

    my $r = $ann->say($at, 'hello, program', to => { user => $name });
    is($r->{ok} && $r->{ok}{delivered}, 1, 'a message to it');
    like(lines_of($out, qr/ann: hello, program/), qr/ann: hello, program/,
         'arrives');

    # it comes back by itself, and nobody has seen it go

    $ann->told($at);
    my ($m)  = @{ $ann->users($at)->{$name} || [ {} ] };
    my $info = $http->get("/fanout/clients/$m->{client}")->json;
    $nginx->kill_worker($info->{worker});
    ($one, $two) = $nginx->worker_pids;
    ok(wait_for(sub {
        $ann->open if !$ann->connected;
        $ann->pump;
        my $r = $http->get("/fanout/clients/$m->{client}");
        $r->{status} == 200 && $r->json->{state} eq 'live';
    }, 20), 'its worker dies: it comes back as who it was')
        or diag(lines_of($out, qr/./));

    $r = $ann->say($at, 'still there?', to => { user => $name });
    like(lines_of($out, qr/ann: still there\?/), qr/ann: still there\?/,
         'and hears again');

    kill 'TERM', $pid;
    waitpid $pid, 0;
    faultless();
}


subtest 'line 6: clients that are no browser, in Python and Rust' => sub {
    for my $case ([ undef, 101, 'no Origin: no browser' ],
                  [ 'http://evil.example', 403, 'a page of another site' ],
                  [ 'http://127.0.0.1:' . $nginx->port, 101, 'of this one' ])
    {
        my ($origin, $status, $name) = @$case;
        my $ws = $nginx->ws(path => '/lobby', expect => undef,
                            headers => { Origin => $origin });

        is($ws->status, $status, $name);
    }

    my $py = $nginx->dir . '/lobby.py';

    open my $f, '>', $py or die;
    print $f program('python');
    close $f;

    runs('python', '/usr/bin/python3', $py);
};


subtest 'line 7: 5,000 rapid concurrent operations make no race' => sub {
    my $at  = 'lobby:churn:7';
    my $ops = $ENV{TEST_SANITIZE} ? 20 : 100;
    my @all = map { app("u$_", worker => $_ % 2 ? $one : $two) } 1 .. 50;
    my @eye = map { app("eye$_", worker => $_ == 1 ? $one : $two) } 1, 2;

    $_->open for @all;
    $_->mount($at) for @eye;

    # Each says all it will do without hearing a thing: it comes, changes
    # something, leaves, and comes again; in the end the even ones are there.

    my (@ids, %codes);

    for my $n (1 .. $ops) {
        for my $i (0 .. $#all) {
            my $app = $all[$i];
            my $op  = $n == $ops ? ($i % 2 ? 'leave' : 'join')
                    : (qw( join presence leave ))[ ($n + $i) % 3 ];

            push @ids, [ $app, $op, $app->put($op, channel => $at,
                $op eq 'join'     ? (presence => { n => $n })
              : $op eq 'presence' ? (data => { n => $n }) : ()) ];
        }

        $_->pump for @eye;
    }

    for (@ids) {
        my ($app, $op, $id) = @$_;
        my $r = $app->wire->reply($id, 30) || { error => { code => 'none' } };

        $codes{"$op " . code($r)}++;
    }

    note(Fanout::JSON::encode(\%codes));
    is(@ids, 50 * $ops, scalar(@ids) . ' operations of 50 at once');
    is(scalar(grep { !/ (?:no error|not_joined)$/ } keys %codes), 0,
       'each is answered, with what is true');
    cmp_ok($codes{'join no error'}, '>=', @ids / 4, 'joins');
    cmp_ok($codes{'leave no error'}, '>=', @ids / 8, 'and leaves');

    my $want = join ' ', sort map { $all[$_]->client }
                              grep { $_ % 2 == 0 } 0 .. $#all;

    Fanout::App::settle(\@eye, sub { !grep { ids($_, $at) ne $want } @eye });
    is(ids($eye[$_], $at), $want, "who watches on worker $_ sees who is there")
        for 0, 1;
    is(api_list($at), $want, 'which is what the server says');

    # those who are in it see it too, by a list that they read now

    my @differ = grep { join(' ', sort map { $_->{client} } @{
        $all[$_]->wire->ok('members', channel => $at)->{members} }) ne $want }
        grep { $_ % 2 == 0 } 0 .. $#all;

    is(@differ, 0, 'and all who are there');

    # of those who did the operations only faults of who watched count: they
    # took nothing for a list while they came and went

    splice @apps, 0, 50;
    faultless();
    $_->close for @all;
};
